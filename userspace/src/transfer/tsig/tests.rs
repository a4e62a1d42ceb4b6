//! TSIG against the implementation of `domain`, in both roles; errors as the RFC has them; every octet of a message
//! counts.

use std::str::FromStr;

use domain::base::iana::Rtype as DomainRtype;
use domain::base::message_builder::MessageBuilder;
use domain::base::{Message, Name as DomainName};
use domain::rdata::tsig::Time48;
use domain::tsig as oracle;
use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_800_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

const ALGORITHMS: [(TsigAlgorithm, oracle::Algorithm); 4] = [
    (TsigAlgorithm::Sha1, oracle::Algorithm::Sha1),
    (TsigAlgorithm::Sha256, oracle::Algorithm::Sha256),
    (TsigAlgorithm::Sha384, oracle::Algorithm::Sha384),
    (TsigAlgorithm::Sha512, oracle::Algorithm::Sha512),
];

fn key(name: &str, algorithm: TsigAlgorithm, secret: &[u8]) -> Key {
    Key::new(name.parse().unwrap(), algorithm, secret)
}

fn keys() -> Keys {
    [key("transfer", TsigAlgorithm::Sha256, SECRET)].into_iter().collect()
}

fn the_key() -> Arc<Key> {
    Arc::clone(keys().get(&"transfer".parse().unwrap()).unwrap())
}

fn oracle_key(algorithm: oracle::Algorithm) -> oracle::Key {
    let name = oracle::KeyName::from_str("Transfer").unwrap();
    oracle::Key::new(algorithm, SECRET, name, None, None).unwrap()
}

/// A query or response whose question has so many labels.
fn message(labels: usize) -> Vec<u8> {
    let mut message = vec![0xab, 0xcd, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    (0..labels).for_each(|_| message.extend_from_slice(b"\x03Abc"));
    message.extend_from_slice(b"\x00\x00\x06\x00\x01");
    message
}

/// The verdict on a request.
fn verified(message: &[u8], now: u64) -> Result<Signer, Option<TsigError>> {
    let record = TsigRecord::find(message).expect("a message").expect("a TSIG record");
    verify(&keys(), message, &record, now).map_err(|rejection| rejection.error())
}

/// A response that says NOTAUTH, as the server makes it of a rejection.
fn rejected(request: &[u8], now: u64) -> (Option<TsigError>, Vec<u8>) {
    let record = TsigRecord::find(request).unwrap().unwrap();
    let rejection = verify(&keys(), request, &record, now).expect_err("a rejection");
    let error = rejection.error();
    let mut response = message(1);
    (response[2], response[3]) = (0x80, 9);
    rejection.finish(&mut response, now);
    (error, response)
}

#[test]
fn requests_of_ours_are_accepted_by_another_implementation_and_its_responses_here() {
    for (algorithm, other) in ALGORITHMS {
        let key = Arc::new(key("transfer", algorithm, SECRET));
        let mut request = message(2);
        let unsigned_len = request.len();
        let mut verifier = sign_request(&key, &mut request, NOW);
        assert_eq!(request.len() - unsigned_len, key.record_len());
        let mut request = Message::from_octets(request).unwrap();
        let now = Time48::from_u64(NOW + 299);
        let mut sequence = oracle::ServerSequence::request(&oracle_key(other), &mut request, now)
            .unwrap()
            .unwrap();
        for labels in 0..5 {
            let mut builder = MessageBuilder::from_target(message(0)).unwrap().additional();
            builder.header_mut().set_id(0xabcd);
            builder.push((DomainName::<Vec<u8>>::from_str("a.").unwrap(), 1, a(labels))).unwrap();
            sequence.answer(&mut builder, now).unwrap();
            let mut response = builder.into_message().into_octets();
            let unsigned_len = response.len() - key.record_len();
            verifier.check(&mut response, NOW).unwrap();
            assert_eq!(response.len(), unsigned_len);
            assert_eq!(response[11], 1);
        }
        verifier.finish().unwrap();
    }
}

fn a(last: u8) -> domain::rdata::A {
    domain::rdata::A::from_octets(192, 0, 2, last)
}

#[test]
fn requests_of_another_implementation_are_accepted_here_and_responses_of_ours_there() {
    for (algorithm, other) in ALGORITHMS {
        let keys: Keys = [key("transfer", algorithm, SECRET)].into_iter().collect();
        let mut builder = MessageBuilder::new_vec().question();
        builder
            .push((DomainName::<Vec<u8>>::from_str("Example.").unwrap(), DomainRtype::AXFR))
            .unwrap();
        let mut builder = builder.additional();
        let now = Time48::from_u64(NOW);
        let mut sequence =
            oracle::ClientSequence::request(oracle_key(other), &mut builder, now).unwrap();
        let request = builder.into_message().into_octets();
        let record = TsigRecord::find(&request).unwrap().unwrap();
        let mut signer = verify(&keys, &request, &record, NOW - 299).unwrap();
        assert_eq!(signer.key().name().to_string(), "transfer.");
        for labels in 1..6 {
            let mut response = message(labels);
            signer.sign(&mut response, NOW + 1);
            let mut response = Message::from_octets(response).unwrap();
            sequence.answer(&mut response, now).unwrap();
        }
        sequence.done().unwrap();
    }
}

#[test]
fn errors_are_those_of_the_rfc_and_are_understood() {
    let key = the_key();
    let mut signed = message(1);
    let verifier = || sign_request(&key, &mut message(1), NOW);
    sign_request(&key, &mut signed, NOW);
    let said = |mut response: Vec<u8>, now| verifier().check(&mut response, now);

    // Another key; another algorithm; another secret.
    let others = [
        (key_of("other", TsigAlgorithm::Sha256, SECRET), TsigError::BADKEY),
        (key_of("transfer", TsigAlgorithm::Sha512, SECRET), TsigError::BADKEY),
        (key_of("transfer", TsigAlgorithm::Sha256, b"another secret......"), TsigError::BADSIG),
    ];
    for (other, expected) in others {
        let mut request = message(1);
        sign_request(&other, &mut request, NOW);
        let (error, response) = rejected(&request, NOW);
        assert_eq!(error, Some(expected));
        assert!(response.len() <= request.len());
        let record = TsigRecord::find(&response).unwrap().unwrap();
        assert_eq!((record.mac.len(), record.error), (0, expected));
        assert_eq!(said(response, NOW), Err(ResponseError::Rejected(expected)));
    }

    // RFC 8945 section 5.2.3: signed, with the time of the request, and the server's beside it.
    for now in [NOW + 301, NOW - 301] {
        let (error, response) = rejected(&signed, now);
        assert_eq!(error, Some(TsigError::BADTIME));
        let record = TsigRecord::find(&response).unwrap().unwrap();
        assert_eq!((record.time_signed, record.other.len()), (NOW, 6));
        assert_eq!(said(response, NOW), Err(ResponseError::BadTime { server: now, now: NOW }));
    }
    assert!(verified(&signed, NOW + 300).is_ok() && verified(&signed, NOW - 300).is_ok());

    // Section 5.2.2.1: a MAC may be cut to half, and to ten octets; no key here allows that. All else is no MAC.
    for len in 0..=40 {
        let request = with_mac_of(&signed, len);
        let rejection = verified(&request, NOW).map(drop);
        match (len, rejection) {
            (32, Ok(())) | (0..=15 | 33.., Err(None)) => {}
            (16..=31, Err(Some(TsigError::BADTRUNC))) => {
                // The client sent this very request.
                let mut verifier = verifier();
                let mut context = key.context();
                let record = TsigRecord::find(&request).unwrap().unwrap();
                context.add_mac(record.mac);
                verifier.context = context;
                let said = verifier.check(&mut rejected(&request, NOW).1, NOW);
                assert_eq!(said, Err(ResponseError::Rejected(TsigError::BADTRUNC)));
            }
            (len, other) => panic!("{len}: {other:?}"),
        }
    }
}

fn key_of(name: &str, algorithm: TsigAlgorithm, secret: &[u8]) -> Arc<Key> {
    Arc::new(key(name, algorithm, secret))
}

/// The message with the MAC cut, or made longer by zeros.
fn with_mac_of(signed: &[u8], len: usize) -> Vec<u8> {
    let record = TsigRecord::find(signed).unwrap().unwrap();
    let mut mac = record.mac.to_vec();
    mac.resize(len, 0);
    let mut message = signed[..record.start].to_vec();
    message[11] -= 1;
    let (name, algorithm) = (record.key_name.as_wire(), record.algorithm);
    record::push(&mut message, name, algorithm, &record.variables(), &mac);
    message
}

#[test]
fn names_of_keys_and_algorithms_have_no_case_and_may_be_compressed() {
    let key = key_of("abc", TsigAlgorithm::Sha256, SECRET);
    let keys: Keys = [self::key("abc", TsigAlgorithm::Sha256, SECRET)].into_iter().collect();
    let mut signed = message(1);
    sign_request(&key, &mut signed, NOW);
    let record = TsigRecord::find(&signed).unwrap().unwrap();
    let (start, algorithm_at) = (record.start, record.start + 5 + 10);
    let mut upper = signed.clone();
    upper[start + 1..start + 4].make_ascii_uppercase();
    upper[algorithm_at..algorithm_at + 12].make_ascii_uppercase();
    // A pointer to the question's name, which is that of the key.
    let mut compressed = signed.clone();
    compressed.splice(start..start + 5, [0xc0, 12]);
    for message in [upper, compressed.clone()] {
        let record = TsigRecord::find(&message).unwrap().unwrap();
        verify(&keys, &message, &record, NOW).unwrap();
    }
    // A response with this name in full might be longer than such a request.
    let record = TsigRecord::find(&compressed).unwrap().unwrap();
    let none = Keys::default();
    assert!(matches!(verify(&none, &compressed, &record, NOW), Err(Rejection::Malformed)));
}

#[test]
fn every_bit_of_a_signed_message_counts() {
    let key = the_key();
    let mut request = message(1);
    let mut verifier = sign_request(&key, &mut request, NOW);
    let id = 0..16;
    let mut tried = 0;
    for bit in 0..request.len() * 8 {
        let mut changed = request.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        // The message's id may change on the way: the original one is signed. Names have no case.
        let is_case = changed.eq_ignore_ascii_case(&request);
        let record = TsigRecord::find(&changed);
        if let Ok(Some(record)) = record
            && verify(&keys(), &changed, &record, NOW).is_ok()
        {
            let name_of_tsig = bit / 8 >= message(1).len();
            assert!(id.contains(&bit) || is_case && name_of_tsig, "bit {bit} may be changed");
            continue;
        }
        tried += 1;
    }
    assert!(tried > request.len() * 7);

    let mut signer = verified(&request, NOW).unwrap();
    let mut response = message(1);
    signer.sign(&mut response, NOW);
    verifier.check(&mut response, NOW).unwrap();
    let mut next = message(2);
    signer.sign(&mut next, NOW);
    for bit in 16..message(2).len() * 8 {
        let mut changed = next.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let mut verifier =
            Verifier { key: Arc::clone(&key), context: verifier.context.clone(), ..verifier };
        assert!(verifier.check(&mut changed, NOW).is_err(), "bit {bit}");
    }
}

/// A server that signs only some of its messages (RFC 8945 section 5.3.1 has clients accept that).
fn sparse(mut prior_mac: Vec<u8>, pattern: &[bool]) -> Vec<Vec<u8>> {
    let key = the_key();
    let mut context = key.context();
    context.add_mac(&prior_mac);
    let mut messages = Vec::new();
    for (place, is_signed) in pattern.iter().enumerate() {
        let mut message = message(place % 5);
        context.add_message(&message);
        if *is_signed {
            let variables = Variables::at(NOW);
            let mut whole = std::mem::replace(&mut context, key.context());
            match place {
                0 => whole.add_variables(&key, &variables),
                _ => whole.add_timers(&variables),
            }
            prior_mac = whole.mac().as_ref().to_vec();
            let (name, algorithm) = (key.name.as_wire(), key.algorithm_name());
            record::push(&mut message, name, algorithm, &variables, &prior_mac);
            context.add_mac(&prior_mac);
        }
        messages.push(message);
    }
    messages
}

/// What comes of a sequence of messages: how many were accepted, and how it ended.
fn outcome(verifier: &mut Verifier, messages: Vec<Vec<u8>>) -> (usize, Result<(), ResponseError>) {
    let mut accepted = 0;
    for mut message in messages {
        if let Err(error) = verifier.check(&mut message, NOW) {
            return (accepted, Err(error));
        }
        accepted += 1;
    }
    (accepted, verifier.finish())
}

#[test]
fn at_most_99_messages_in_a_row_are_not_signed_and_the_last_one_is() {
    let sequence = |pattern: &[bool]| {
        let mut request = message(1);
        let mut verifier = sign_request(&the_key(), &mut request, NOW);
        let mac = TsigRecord::find(&request).unwrap().unwrap().mac.to_vec();
        outcome(&mut verifier, sparse(mac, pattern))
    };
    let pattern = |unsigned: usize| [&[true][..], &vec![false; unsigned], &[true]].concat();
    assert_eq!(sequence(&pattern(99)), (101, Ok(())));
    assert_eq!(sequence(&pattern(100)), (100, Err(ResponseError::TooManyUnsigned)));
    assert_eq!(sequence(&[true, false]), (2, Err(ResponseError::NotSigned)));
    assert_eq!(sequence(&[false, true]), (0, Err(ResponseError::NotSigned)));
    assert_eq!(sequence(&[]), (0, Err(ResponseError::NotSigned)));
}

proptest! {
    /// Whichever messages are signed, both implementations agree; and one that is left out, sent twice, exchanged with the
    /// next one, or without its TSIG record, is found before the end.
    #[test]
    fn sequences_are_whole_and_in_order(
        middle in proptest::collection::vec(any::<bool>(), 1..12),
        place in any::<prop::sample::Index>(),
        kind in 0..5,
    ) {
        let pattern = [&[true][..], &middle, &[true]].concat();
        let now = Time48::from_u64(NOW);
        let mut builder = MessageBuilder::new_vec().additional();
        let mut other = oracle::ClientSequence::request(
            oracle_key(oracle::Algorithm::Sha256), &mut builder, now).unwrap();
        let request = builder.into_message().into_octets();
        let mac = TsigRecord::find(&request).unwrap().unwrap().mac.to_vec();
        let mut context = the_key().context();
        context.add_mac(&mac);
        let mut verifier = Verifier { key: the_key(), context, is_first: true, unsigned: 0 };

        let mut messages = sparse(mac, &pattern);
        let right = messages.clone();
        let place = place.index(messages.len() - 1);
        match kind {
            0 => {}
            1 => drop(messages.remove(place)),
            2 => messages.insert(place, messages[place].clone()),
            3 => messages.swap(place, place + 1),
            _ => if let Some(record) = TsigRecord::find(&right[place]).unwrap() {
                messages[place].truncate(record.start);
                messages[place][11] -= 1;
            },
        }
        let theirs = messages.iter().try_for_each(|message| {
            let mut message = Message::from_octets(message.clone()).unwrap();
            other.answer(&mut message, now).map_err(drop)
        });
        let theirs = theirs.is_ok() && other.done().is_ok();
        let is_right = messages == right;
        let (_, ours) = outcome(&mut verifier, messages);
        prop_assert_eq!(ours.is_ok(), theirs);
        prop_assert_eq!(ours.is_ok(), is_right);
    }

    /// Whatever octets come, they are read without a panic.
    #[test]
    fn any_octets_are_read(
        mut octets in proptest::collection::vec(any::<u8>(), 0..100),
        counts in proptest::collection::vec(0u8..3, 4),
        is_near in any::<bool>(),
    ) {
        if is_near {
            let mut signed = message(1);
            sign_request(&the_key(), &mut signed, NOW);
            signed.iter_mut().zip(&octets).skip(12).for_each(|(octet, change)| {
                if change % 16 == 0 { *octet ^= change; }
            });
            octets = signed;
        } else if octets.len() >= 12 {
            for (section, count) in counts.iter().enumerate() {
                (octets[4 + 2 * section], octets[5 + 2 * section]) = (0, *count);
            }
        }
        if let Ok(Some(record)) = TsigRecord::find(&octets) {
            let _ = verify(&keys(), &octets, &record, NOW);
        }
        let mut verifier = sign_request(&the_key(), &mut message(1), NOW);
        prop_assert!(verifier.check(&mut octets.clone(), NOW).is_err());
    }
}
