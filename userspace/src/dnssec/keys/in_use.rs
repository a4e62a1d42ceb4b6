//! Which of a zone's keys are used at a moment, and for what.

use super::timing::KeyState;
use super::{Algorithm, Key, REVOKED, Role, parse_dnskey};
use crate::zone::Name;

impl Key {
    /// Makes its state that of `now`, in seconds since 1970. A key that was revoked stays so.
    fn set_state(&mut self, now: u32) {
        let Some(times) = &self.times else { return };
        let state = times.state(now);
        let was_revoked = self.state == KeyState::Revoked;
        self.state = if was_revoked && state.is_in_zone() { KeyState::Revoked } else { state };
        if self.state == KeyState::Revoked && !was_revoked {
            self.revoke();
        }
    }

    /// Sets the flag that says so, which is also in the key tag.
    fn revoke(&mut self) {
        if let [_, flags, ..] = &mut *self.dnskey {
            *flags |= REVOKED as u8;
        }
        if let Some(dnskey) = parse_dnskey(&self.dnskey) {
            self.tag = dnskey.key_tag();
        }
    }
}

/// Makes key-signing keys whose algorithm has no zone-signing key that signs sign everything: nothing in the
/// files tells a CSK from a KSK, and a zone must be signed with every algorithm among its keys
/// (RFC 4035 section 2.2).
pub fn assign_roles(keys: &mut [Key]) {
    let zsk: Vec<Algorithm> = keys
        .iter()
        .filter(|key| key.role == Role::Zsk && key.state == KeyState::Active)
        .map(|key| key.algorithm)
        .collect();
    for key in keys.iter_mut().filter(|key| key.role != Role::Zsk) {
        key.role = if zsk.contains(&key.algorithm) { Role::Ksk } else { Role::Csk };
    }
}

/// All keys in their states at `now`, in seconds since 1970, and with the roles that follow from that.
pub fn at(mut keys: Vec<Key>, now: u32) -> Vec<Key> {
    keys.iter_mut().for_each(|key| key.set_state(now));
    assign_roles(&mut keys);
    keys
}

/// The keys that a zone has at `now`, in seconds since 1970: those that sign, and those that are only published.
///
/// # Errors
/// [`NoKeyInUse`] if there are keys, and the zone has none of them.
pub fn in_use(keys: Vec<Key>, now: u32) -> Result<Vec<Key>, NoKeyInUse> {
    let mut keys = at(keys, now);
    let states: Vec<String> =
        keys.iter().map(|key| format!("{} {}", key.file_tag, key.state.word())).collect();
    let zone = keys.first().map(|key| key.zone.clone());
    keys.retain(|key| key.state.is_in_zone());
    match zone {
        Some(zone) if keys.is_empty() => Err(NoKeyInUse { zone, states: states.join(", ") }),
        _ => Ok(keys),
    }
}

/// When the use of one of the keys changes next after `now`, in seconds since 1970.
pub fn next_change(keys: &[Key], now: u32) -> Option<u32> {
    keys.iter().filter_map(|key| key.times.as_ref()?.next_change(now)).min()
}

/// By the times in their files none of a zone's keys is in use.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "no key of {zone} is in use at this time ({states}): see the times in their .private files, which dnssec-settime \
     changes, or make new keys with `sealdns key generate {zone}`"
)]
pub struct NoKeyInUse {
    zone: Name,
    /// The tags of its keys, with their states.
    states: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnssec::keys::NewKey;

    #[test]
    fn a_lone_ksk_signs_everything() {
        let zone = Name::from_wire(b"\x07example\x03net\x00").unwrap();
        let make = |role, algorithm| {
            NewKey::generate(&zone, role, algorithm, &[], 1_800_000_000).unwrap().key
        };
        let mut keys = [
            make(Role::Ksk, Algorithm::EcdsaP256Sha256),
            make(Role::Zsk, Algorithm::EcdsaP256Sha256),
            make(Role::Ksk, Algorithm::Ed25519),
        ];
        assign_roles(&mut keys);
        assert_eq!(keys.each_ref().map(Key::role), [Role::Ksk, Role::Zsk, Role::Csk]);
    }
}
