//! Versions that take each other's place: what is answered between, what is written, and what is left.

use super::*;

#[test]
fn a_new_version_takes_the_place_of_the_old_one() {
    let mut image = small_image();
    let first = zone("example.org.", 1, "a A 192.0.2.1\ngone A 192.0.2.2\nb.c.d A 192.0.2.3");
    drop(image.publish(&first).expect("published"));
    let reader = image.reader();
    assert_eq!(ask(&reader, "gone.example.org.", Rtype::A).answer.len(), 1);
    assert_eq!(ask(&reader, "c.d.example.org.", Rtype::A).outcome, Outcome::Nodata);
    assert_eq!(ask(&reader, "new.e.example.org.", Rtype::A).code, ResponseCode::NXDomain);

    let second = zone("example.org.", 2, "a A 192.0.2.1\nnew.e A 192.0.2.2");
    let (_, retired) = image.publish(&second).expect("published");
    let reader = image.reader();
    assert_eq!(ask(&reader, "gone.example.org.", Rtype::A).code, ResponseCode::NXDomain);
    assert_eq!(ask(&reader, "c.d.example.org.", Rtype::A).code, ResponseCode::NXDomain);
    assert_eq!(ask(&reader, "e.example.org.", Rtype::A).outcome, Outcome::Nodata);
    assert_eq!(ask(&reader, "new.e.example.org.", Rtype::A).answer.len(), 1);

    // Withdrawn memory comes back: the image does not grow however often a zone changes.
    image.release(retired);
    let mut most = 0;
    for serial in 3..200 {
        let records = format!("a A 192.0.2.1\nnew.e A 192.0.2.2\nn{} A 192.0.2.3", serial % 100);
        let next = zone("example.org.", serial, &records);
        let (_, retired) = image.publish(&next).expect("published");
        image.release(retired);
        if serial < 100 {
            most = image.usage().slab_octets.max(most);
        }
        assert!(serial < 100 || image.usage().slab_octets <= most, "{most}: {:?}", image.usage());
    }
    let retired = image.remove(&name("example.org."));
    image.release(retired);
    assert_eq!(ask(&image.reader(), "a.example.org.", Rtype::A).outcome, Outcome::NotOurs);
    assert_eq!((image.usage().entries, image.usage().slab_octets), (0, 0));
}

/// Called at every access of one kind, though not at those that it makes itself.
pub(super) type Hook = Mutex<Option<Box<dyn FnMut() + Send>>>;

/// Memory that lets others act in between.
pub(super) struct Watched {
    memory: Mapping,
    pub(super) after_store: Hook,
    before_look_up: Hook,
    /// How often the slab and the table were read and written.
    pub(super) accesses: AtomicUsize,
}

impl Watched {
    pub(super) fn new() -> Watched {
        Watched::of(Size { slab: 16 << 16, buckets: 1 << 10 })
    }

    pub(super) fn of(size: Size) -> Watched {
        let memory = Mapping::anonymous(size).expect("memory");
        let accesses = AtomicUsize::new(0);
        Watched {
            memory,
            after_store: Mutex::default(),
            before_look_up: Mutex::default(),
            accesses,
        }
    }
}

fn call(hook: &Hook) {
    let taken = hook.lock().expect("one thread").take();
    if let Some(mut taken) = taken {
        taken();
        hook.lock().expect("one thread").get_or_insert(taken);
    }
}

impl Memory for Watched {
    fn slab_len(&self) -> usize {
        self.memory.slab_len()
    }

    fn bucket_count(&self) -> usize {
        self.memory.bucket_count()
    }

    fn write(&self, at: usize, octets: &[u8]) {
        self.accesses.fetch_add(1, Relaxed);
        self.memory.write(at, octets);
    }

    fn read(&self, at: usize, len: usize) -> Option<&[u8]> {
        self.accesses.fetch_add(1, Relaxed);
        self.memory.read(at, len)
    }

    fn bucket(&self, index: usize) -> xdp_common::image::Bucket {
        self.accesses.fetch_add(1, Relaxed);
        call(&self.before_look_up);
        self.memory.bucket(index)
    }

    fn store(&self, bucket: usize, slot: usize, entry: u64) {
        self.accesses.fetch_add(1, Relaxed);
        self.memory.store(bucket, slot, entry);
        call(&self.after_store);
    }

    fn replace(&self, at: usize, word: u64) {
        self.accesses.fetch_add(1, Relaxed);
        self.memory.replace(at, word);
        call(&self.after_store);
    }

    fn changes(&self) -> u64 {
        self.memory.changes()
    }
}

/// Two versions of a zone in which names come and go, and what is asked of them.
struct Change {
    versions: [Zone; 2],
    names: Vec<Name>,
    queries: Vec<Vec<u8>>,
    /// The answers of each version.
    expected: [Vec<Vec<u8>>; 2],
}

impl Change {
    fn new(denial: Option<Denial>) -> Change {
        // What is in both: names that stay, among them some below which much changes.
        let both = "stay A 192.0.2.9\nx.stay A 192.0.2.9\n*.wild.stay A 192.0.2.9\nto CNAME a\n\
                    over CNAME stay\nkept NS ns.kept\nns.kept A 192.0.2.9\n";
        let few = "a A 192.0.2.1\n*.w TXT few\ncut NS ns.example.net.\ngone.too.deep TXT few";
        let many = "a A 192.0.2.2\nb.c.d.e.f.g TXT many\nx.w TXT many\n*.d.e.f.g TXT many\n\
                    c2 CNAME a\nb.cut TXT many\nx.few A 192.0.2.3";
        let names: Vec<Name> = "@ a y.a w x.w y.w cut b.cut y.cut gone.too.deep too.deep deep \
                                y.too.deep y.deep b.c.d.e.f.g c.d.e.f.g y.c.d.e.f.g y.d.e.f.g \
                                e.f.g y.e.f.g f.g y.g g c2 few x.few y.few nobody y.nobody \
                                stay x.stay y.stay wild.stay y.wild.stay to over kept y.kept"
            .split_whitespace()
            .map(|label| name(&format!("{label}.example.org.").replace("@.", "")))
            .collect();
        let queries: Vec<Vec<u8>> = names
            .iter()
            .flat_map(|name| [Rtype::A, Rtype::TXT, Rtype::NS].map(|rtype| (name, rtype)))
            .map(|(name, rtype)| query(name.as_wire(), rtype))
            .collect();
        let few = zone("example.org.", 1, &format!("{both}{few}"));
        let many = zone("example.org.", 2, &format!("{both}{many}"));
        let versions = versions(&[&few, &many], denial);
        let versions = [versions[0].clone(), versions[1].clone()];
        let expected = versions.each_ref().map(|version| {
            let mut image = small_image();
            drop(image.publish(version).expect("published"));
            let reader = image.reader();
            queries.iter().map(|query| answer(&reader, query)).collect()
        });
        Change { versions, names, queries, expected }
    }

    fn check(&self, place: usize, answer: &[u8]) {
        let is_one = self.expected.iter().any(|answers| answers[place] == answer) || {
            // Each link of a chain of CNAMEs is.
            let all = self.expected.iter().flatten();
            let known: BTreeSet<String> = all.flat_map(|answer| links(answer)).collect();
            let said = links(answer);
            said.len() > 1 && said.is_subset(&known)
        };
        assert!(is_one, "{}: {answer:02x?}", self.names[place / 3]);
    }
}

/// Between any two steps of a change, all that is asked is answered as the old version has it or as the
/// new one has it, by readers that were made before; the proofs too.
#[test]
fn every_step_of_a_change_is_one_version_or_the_other() {
    for denial in DENIALS {
        let change = Arc::new(Change::new(denial));
        let memory = Arc::new(Watched::new());
        let mut image = Image::new(Arc::clone(&memory) as Arc<dyn Memory>, 0x5eed);
        drop(image.publish(&change.versions[0]).expect("published"));
        for version in [1, 0] {
            let (reader, steps) = (image.reader(), Arc::new(AtomicUsize::new(0)));
            let (asked, counted) = (Arc::clone(&change), Arc::clone(&steps));
            let hook = move || {
                for (place, query) in asked.queries.iter().enumerate() {
                    asked.check(place, &answer(&reader, query));
                }
                counted.fetch_add(1, Relaxed);
            };
            *memory.after_store.lock().expect("one thread") = Some(Box::new(hook));
            drop(image.publish(&change.versions[version]).expect("published"));
            *memory.after_store.lock().expect("one thread") = None;
            assert!(steps.load(Relaxed) > 10, "{steps:?}");
        }
    }
}

/// A change between any two look-ups that an answer takes leaves the answer one version's.
#[test]
fn a_change_within_an_answer_is_one_version_or_the_other() {
    for denial in DENIALS {
        let change = Arc::new(Change::new(denial));
        for (place, query) in change.queries.iter().enumerate() {
            for version in [1, 0] {
                // Until an answer is complete before so many look-ups.
                for look_up in 0usize.. {
                    let memory = Arc::new(Watched::new());
                    let mut image = Image::new(Arc::clone(&memory) as Arc<dyn Memory>, 0x5eed);
                    drop(image.publish(&change.versions[1 - version]).expect("published"));
                    let reader = image.reader();
                    let (asked, happened) = (Arc::clone(&change), Arc::new(AtomicUsize::new(0)));
                    let (counted, mut left) = (Arc::clone(&happened), look_up);
                    let hook = move || {
                        if left == 0 {
                            drop(image.publish(&asked.versions[version]).expect("published"));
                            counted.fetch_add(1, Relaxed);
                        }
                        left = left.wrapping_sub(1);
                    };
                    *memory.before_look_up.lock().expect("one thread") = Some(Box::new(hook));
                    change.check(place, &answer(&reader, query));
                    *memory.before_look_up.lock().expect("one thread") = None;
                    if happened.load(Relaxed) == 0 {
                        assert!(look_up > 0, "nothing was looked up");
                        break;
                    }
                }
            }
        }
    }
}

/// What two versions have in common is not written again, and whatever changes, the newer version is
/// answered as if it were the first, and nothing is left of it in the end.
#[test]
fn a_change_is_written_and_nothing_else() {
    let records = |changed: usize| {
        (0..1000)
            .map(|n| format!("n{n:03} A 192.0.2.{}\n", u8::from(n == changed)))
            .collect::<String>()
    };
    let zones = [1, 2].map(|serial| zone("example.org.", serial, &records(serial as usize * 100)));
    for (denial, any) in
        DENIALS.into_iter().flat_map(|one| [(one, AnyResponse::Rrset), (one, AnyResponse::Hinfo)])
    {
        let mut image = image(64 << 16, 1 << 10);
        let versions = versions_for_any(&[&zones[0], &zones[1]], denial, any);
        let (first, retired) = image.publish(&versions[0]).expect("published");
        image.release(retired);
        assert!(first.written >= 2000 && first.kept == 0, "{first:?}");
        let (second, retired) = image.publish(&versions[1]).expect("published");
        image.release(retired);
        // Two names; the apex, its SOA twice, what stands beside it; the index; the zone's record.
        assert!(second.written <= 16, "{second:?}");
        assert!(second.written + second.kept >= 2000, "{second:?}");
        assert_eq!(second.kept + second.written, image.usage().records);
        let (third, retired) = image.publish(&versions[1]).expect("published");
        image.release(retired);
        assert_eq!((third.written, third.names), (0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A version that is published over another one answers as it does by itself.
    #[test]
    fn versions_follow_each_other(
        owners in proptest::collection::vec(
            proptest::collection::vec(("([ab*]\\.){0,3}[ab*]", 0u8..6), 0..10), 2..5),
        asked in proptest::collection::vec("([abc*]\\.){0,4}[abc]", 1..20),
        denial in 0usize..4,
    ) {
        let zones: Vec<Zone> = owners.iter().enumerate().map(|(serial, owners)| {
            let cnames: Vec<&str> =
                owners.iter().filter(|(_, kind)| *kind > 3).map(|(owner, _)| &owner[..]).collect();
            let records: String = owners.iter().map(|(owner, kind)| match kind {
                _ if cnames.contains(&&owner[..]) => format!("{owner} CNAME {}\n", owners[0].0),
                3 if !owner.starts_with('*') => format!("{owner} NS ns.{owner}\n"),
                kind => format!("{owner} A 192.0.2.{kind}\n"),
            }).collect();
            zone("example.org.", serial as u32 + 1, &records)
        }).collect();
        let zones: Vec<&Zone> = zones.iter().collect();
        let mut image = small_image();
        for version in versions(&zones, DENIALS[denial]) {
            let (_, retired) = image.publish(&version).expect("published");
            image.release(retired);
            let mut alone = small_image();
            drop(alone.publish(&version).expect("published"));
            let (reader, expected) = (image.reader(), alone.reader());
            for qname in &asked {
                let qname = name(&format!("{qname}.example.org."));
                for rtype in [Rtype::A, Rtype::NS, Rtype::NSEC] {
                    let query = query(qname.as_wire(), rtype);
                    prop_assert_eq!(answer(&reader, &query), answer(&expected, &query), "{}", qname);
                }
            }
        }
        let retired = image.remove(&name("example.org."));
        image.release(retired);
        prop_assert_eq!((image.usage().slab_octets, image.usage().entries), (0, 0));
        prop_assert_eq!((image.usage().names, image.usage().records), (0, 0));
    }
}
