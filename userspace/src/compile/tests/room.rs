//! Memory that is too small.

use super::*;

#[test]
fn memory_that_is_too_small_is_said_and_nothing_changes() {
    let mut image = image(2 << 16, 64);
    drop(image.publish(&zone("example.org.", 1, "a A 192.0.2.1")).expect("published"));
    let before = image.usage();
    let records: String = (0..5000).map(|n| format!("n{n} TXT \"{:0100}\"\n", n)).collect();
    let large = zone("example.org.", 2, &records);
    let Err(PublishError::Full { slab_needed, buckets_needed }) = image.publish(&large) else {
        panic!("it fits");
    };
    assert_eq!(image.usage(), before);
    assert_eq!(ask(&image.reader(), "a.example.org.", Rtype::A).answer.len(), 1);

    // What it asks for is enough, and what was there moves along.
    let size = Size { slab: slab_needed.next_multiple_of(1 << 16), buckets: buckets_needed };
    image.move_to(Arc::new(Mapping::anonymous(size).expect("memory"))).expect("moved");
    assert_eq!(ask(&image.reader(), "a.example.org.", Rtype::A).answer.len(), 1);
    drop(image.publish(&large).expect("published"));
    assert_eq!(ask(&image.reader(), "n4999.example.org.", Rtype::TXT).answer.len(), 1);
    assert_eq!(ask(&image.reader(), "a.example.org.", Rtype::A).code, ResponseCode::NXDomain);
}

#[test]
fn a_full_table_asks_for_no_slab() {
    let mut image = image(16 << 16, 8);
    let records: String = (0..200).map(|n| format!("n{n} A 192.0.2.1\n")).collect();
    let Err(PublishError::Full { slab_needed, buckets_needed }) =
        image.publish(&zone("example.org.", 1, &records))
    else {
        panic!("it fits");
    };
    assert!(slab_needed <= image.usage().slab_capacity && buckets_needed > 8);
}
