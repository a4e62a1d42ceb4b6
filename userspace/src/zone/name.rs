//! Domain names in wire format, lower case, without compression (RFC 1035 section 3.1).

use std::cmp::Ordering;
use std::fmt;

/// Longest name on the wire in octets, the root label included (RFC 1035 section 2.3.4).
pub const MAX_NAME_LEN: usize = 255;

/// Longest label in octets (RFC 1035 section 2.3.4).
pub const MAX_LABEL_LEN: usize = 63;

/// An owner name: lower case, uncompressed wire format, the root label included.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// The root name.
    pub fn root() -> Name {
        Name(Box::new([0]))
    }

    /// Takes a name in uncompressed wire format of any case; `None` if it is not exactly one name.
    pub fn from_wire(wire: &[u8]) -> Option<Name> {
        (wire_name_len(wire)? == wire.len()).then(|| {
            let mut wire: Box<[u8]> = wire.into();
            lowercase(&mut wire);
            Name(wire)
        })
    }

    /// The uncompressed wire format.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The name without its first label; `None` for the root.
    pub fn parent(&self) -> Option<Name> {
        parent(&self.0).map(|wire| Name(wire.into()))
    }

    /// The number of labels, the root label not counted (as the RRSIG Labels field does).
    pub fn label_count(&self) -> usize {
        labels(&self.0).count()
    }

    /// Whether `self` is `ancestor` or stands below it.
    pub fn is_at_or_below(&self, ancestor: &Name) -> bool {
        is_at_or_below(&self.0, &ancestor.0)
    }
}

impl fmt::Display for Name {
    /// Presentation format, absolute, with RFC 1035 section 5.1 escapes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(f, &self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    /// Canonical order (RFC 4034 section 6.1).
    fn cmp(&self, other: &Name) -> Ordering {
        canonical_order(&self.0, &other.0)
    }
}

/// The length of the uncompressed name that `wire` starts with; `None` if it is cut short, has a
/// label type other than a plain label, or is longer than 255 octets.
pub fn wire_name_len(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let len = usize::from(*wire.get(at)?);
        if len > MAX_LABEL_LEN {
            return None;
        }
        at += 1 + len;
        if at > MAX_NAME_LEN || at > wire.len() {
            return None;
        }
        if len == 0 {
            return Some(at);
        }
    }
}

/// The labels of a wire name from the left, without their length octets and without the root.
pub fn labels(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = wire;
    std::iter::from_fn(move || {
        let len = usize::from(*rest.first()?);
        if len == 0 {
            return None;
        }
        let label = rest.get(1..1 + len)?;
        rest = &rest[1 + len..];
        Some(label)
    })
}

/// The wire name without its first label; `None` for the root.
pub fn parent(wire: &[u8]) -> Option<&[u8]> {
    match wire.first() {
        None | Some(0) => None,
        Some(&len) => wire.get(1 + usize::from(len)..),
    }
}

/// The wire name and all names above it: the name itself first, the root last.
pub fn ancestors(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(wire), |name| parent(name))
}

/// Whether lower-case wire name `name` is `ancestor` or stands below it.
pub fn is_at_or_below(name: &[u8], ancestor: &[u8]) -> bool {
    let mut rest = name;
    loop {
        if rest.len() <= ancestor.len() {
            return rest == ancestor;
        }
        match parent(rest) {
            Some(up) => rest = up,
            None => return false,
        }
    }
}

/// The octets of a wire name that stands behind all names below `wire` in canonical order, with no name between them
/// and it; `None` if no name stands there. It is for comparing, and is no name itself where `wire` has 255 octets.
pub fn behind_subtree(wire: &[u8]) -> Option<Vec<u8>> {
    let (&len, above) = (wire.first()?, parent(wire)?);
    let mut label = wire[1..1 + usize::from(len)].to_vec();
    if label.len() < MAX_LABEL_LEN && wire.len() < MAX_NAME_LEN {
        label.push(0);
    } else {
        // Nothing longer begins with this label: the next one differs within its length.
        while label.last() == Some(&0xff) {
            label.pop();
        }
        match label.last_mut() {
            Some(last) => *last += 1,
            None => return behind_subtree(above),
        }
    }
    Some([&[label.len() as u8], &label[..], above].concat())
}

/// Lower-cases ASCII letters in a wire name. Length octets are below `A`, so the whole slice is
/// treated alike.
pub fn lowercase(wire: &mut [u8]) {
    wire.make_ascii_lowercase();
}

/// Canonical name order of two lower-case wire names: labels compared from the right as octet
/// strings, absent labels first (RFC 4034 section 6.1).
pub fn canonical_order(a: &[u8], b: &[u8]) -> Ordering {
    let (mut a, mut b) = (a, b);
    let (a_count, b_count) = (count_of_labels(a), count_of_labels(b));
    (b_count..a_count).for_each(|_| a = split_label(a).1);
    (a_count..b_count).for_each(|_| b = split_label(b).1);
    // As many labels in both: of those that differ the last ones decide. Most often they have one parent.
    let mut order = a_count.cmp(&b_count);
    while a != b {
        let ((label, a_parent), (other, b_parent)) = (split_label(a), split_label(b));
        order = label.cmp(other).then(order);
        (a, b) = (a_parent, b_parent);
    }
    order
}

/// How many labels there are, the root not counted.
fn count_of_labels(wire: &[u8]) -> usize {
    let (mut at, mut count) = (0, 0);
    while wire[at] != 0 {
        at += 1 + usize::from(wire[at]);
        count += 1;
    }
    count
}

/// The first label of a name that is not the root, and the name behind it.
fn split_label(wire: &[u8]) -> (&[u8], &[u8]) {
    wire[1..].split_at(usize::from(wire[0]))
}

/// Writes a wire name in presentation format, absolute.
pub fn write_name(f: &mut impl fmt::Write, wire: &[u8]) -> fmt::Result {
    let mut any = false;
    for label in labels(wire) {
        any = true;
        for &octet in label {
            match octet {
                b'.' | b'\\' | b'"' | b';' | b'@' | b'$' | b'(' | b')' => {
                    write!(f, "\\{}", octet as char)?;
                }
                0x21..=0x7e => f.write_char(octet as char)?,
                _ => write!(f, "\\{octet:03}")?,
            }
        }
        f.write_char('.')?;
    }
    if any { Ok(()) } else { f.write_char('.') }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        let mut wire = Vec::new();
        for label in text.split('.').filter(|label| !label.is_empty()) {
            wire.push(label.len() as u8);
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        Name::from_wire(&wire).expect("a name")
    }

    #[test]
    fn canonical_order_is_that_of_rfc_4034_section_6_1() {
        let mut star = b"\x01*\x01z\x07example\x00".to_vec();
        let mut high = b"\x01\xc8\x01z\x07example\x00".to_vec();
        let mut low = b"\x01\x01\x01z\x07example\x00".to_vec();
        for wire in [&mut star, &mut high, &mut low] {
            lowercase(wire);
        }
        let expected = [
            name("example"),
            name("a.example"),
            name("yljkjljk.a.example"),
            name("Z.a.example"),
            name("zABC.a.EXAMPLE"),
            name("z.example"),
            Name::from_wire(&low).unwrap(),
            Name::from_wire(&star).unwrap(),
            Name::from_wire(&high).unwrap(),
        ];
        let mut sorted = expected.to_vec();
        sorted.reverse();
        sorted.sort();
        assert_eq!(sorted, expected);
    }

    proptest! {
        /// Names that have few different labels, so that many are equal: the order is that of their labels from the right.
        #[test]
        fn canonical_order_is_that_of_labels_from_the_right(
            names in prop::collection::vec(prop::collection::vec("[ab\0]{1,3}", 0..5), 2),
        ) {
            let wires = names.iter().map(|labels| {
                let octets = |label: &String| [&[label.len() as u8], label.as_bytes()].concat();
                [labels.iter().map(octets).collect::<Vec<_>>().concat(), vec![0]].concat()
            });
            let wires: Vec<_> = wires.collect();
            let order = names[0].iter().rev().cmp(names[1].iter().rev());
            prop_assert_eq!(canonical_order(&wires[0], &wires[1]), order);
        }
    }

    #[test]
    fn ancestors_end_at_label_borders() {
        assert!(name("www.example").is_at_or_below(&name("example")));
        assert!(name("example").is_at_or_below(&Name::root()));
        assert!(!name("wwwexample").is_at_or_below(&name("example")));
        // The octets of the shorter name end the longer one, but not at a label border.
        assert!(!Name::from_wire(b"\x03a\x01b\x00").unwrap().is_at_or_below(&name("b")));
    }

    /// For names of every length of a label and in all: what is below is before, and the nearest names that are not
    /// below and not before the name are not.
    #[test]
    fn what_is_behind_a_subtree_is_behind_all_of_it() {
        let filler = [&[62][..], &[b'x'; 62]].concat();
        for (len, fillers) in (1..=63usize).flat_map(|len| (0..4usize).map(move |n| (len, n))) {
            for octet in [0, b'@', b'z', 0xfe, 0xff] {
                let parent = [filler.repeat(fillers), b"\x01p\0".to_vec()].concat();
                let label = [vec![b'a'; len - 1], vec![octet]].concat();
                let name = [&[len as u8], &label[..], &parent].concat();
                if name.len() > MAX_NAME_LEN {
                    continue;
                }
                let behind = behind_subtree(&name).unwrap();
                let is_before = |other: &[u8]| canonical_order(other, &behind).is_lt();
                assert!(is_before(&name));
                let labels = [&b"\x01\xff"[..], &[&[63][..], &[0xff; 63]].concat()];
                let below = labels.map(|label| [label, &name].concat());
                for below in below.iter().filter(|below| below.len() <= MAX_NAME_LEN) {
                    assert!(is_before(below), "{name:?}");
                }
                let longer = [&[len as u8 + 1], &label[..], &[0], &parent].concat();
                if len < MAX_LABEL_LEN && longer.len() <= MAX_NAME_LEN {
                    assert!(!is_before(&longer), "{name:?}");
                }
                if octet < 0xff {
                    let next = [&[len as u8], &label[..len - 1], &[octet + 1], &parent].concat();
                    assert!(!is_before(&next), "{name:?}");
                }
            }
        }
        let highest = [&[63][..], &[0xff; 63], b"\x01p\0"].concat();
        assert_eq!(behind_subtree(&highest).unwrap(), b"\x02p\0\0");
        assert_eq!(behind_subtree(&[&[63][..], &[0xff; 63], b"\0"].concat()), None);
        assert_eq!(behind_subtree(b"\0"), None);
    }

    #[test]
    fn names_that_are_none_are_refused() {
        assert!(Name::from_wire(b"\x03ab\x00").is_none());
        assert!(Name::from_wire(b"\xc0\x0c").is_none());
        assert!(Name::from_wire(b"\x01a\x00\x00").is_none());
        assert!(Name::from_wire(&[b"\x3f".as_slice(), &[b'a'; 63]].concat().repeat(4)).is_none());
    }
}
