//! Names: whatever is taken for one behaves as one, and canonical order is RFC 4034's.
#![no_main]

use std::cmp::Ordering;

use libfuzzer_sys::fuzz_target;
use sealdns::zone::{
    Name,
    name::{labels, wire_name_len},
};

fuzz_target!(|input: (&[u8], &[u8])| {
    let (Some(one), Some(other)) = (name(input.0), name(input.1)) else { return };
    assert_eq!(one.cmp(&other), order_by_the_book(&one, &other));
    assert_eq!(one.cmp(&other), other.cmp(&one).reverse());
    if one.is_at_or_below(&other) && one != other {
        // RFC 4034 section 6.1: a name sorts before all that is below it.
        assert_eq!(one.cmp(&other), Ordering::Greater);
    }
});

/// Takes a name, and holds it to what every name must do.
fn name(octets: &[u8]) -> Option<Name> {
    let name = Name::from_wire(octets)?;
    assert_eq!(wire_name_len(octets), Some(octets.len()));
    assert!(octets.len() <= 255);
    assert!(name.as_wire().eq_ignore_ascii_case(octets));
    assert_eq!(Name::from_wire(name.as_wire()).as_ref(), Some(&name));

    let text = name.to_string();
    assert!(text.ends_with('.') && text.bytes().all(|octet| octet.is_ascii_graphic()));

    let mut ancestor = Some(name.clone());
    let mut steps = 0;
    while let Some(above) = ancestor {
        assert!(name.is_at_or_below(&above));
        assert_eq!(above.label_count() + steps, name.label_count());
        ancestor = above.parent();
        steps += 1;
    }
    assert_eq!(steps, name.label_count() + 1);
    Some(name)
}

/// RFC 4034 section 6.1, word by word: labels from the right as lower-case octet strings.
fn order_by_the_book(one: &Name, other: &Name) -> Ordering {
    let reversed = |name: &Name| {
        let mut list: Vec<Vec<u8>> = labels(name.as_wire()).map(<[u8]>::to_vec).collect();
        list.reverse();
        list
    };
    reversed(one).cmp(&reversed(other))
}
