//! Server cookies (RFC 7873) as all servers of an address make them (RFC 9018): SipHash-2-4 over the
//! client's cookie, the time and the client's address.
//!
//! A client that sends a valid one has got it here a short while ago: its address is not spoofed.

use crate::address::MAPPED;

/// Octets of a client cookie.
pub const CLIENT_LEN: usize = 8;
/// Octets of a server cookie of version 1: version, three reserved, the time, the hash.
pub const SERVER_LEN: usize = 16;
/// The fewest and the most octets of any server cookie (RFC 7873 section 4).
pub const ANY_SERVER_LEN: [usize; 2] = [8, 32];

/// The key of the hash: sixteen octets as two little-endian words.
pub type Secret = [u64; 2];

/// Secrets that are accepted at a time: the one that cookies are made with, and while it is exchanged the
/// one before or after it (RFC 9018 section 5).
pub const MAX_SECRETS: usize = 2;

/// A cookie is accepted for this many seconds (RFC 9018 section 4.3).
pub const LIFETIME_S: i32 = 3600;
/// Clocks of the servers of an address may differ by this many seconds (the same section).
pub const SKEW_S: i32 = 300;
/// A cookie older than this many seconds is exchanged for a new one (the same section).
pub const RENEWAL_S: i32 = 1800;

/// The version, the first octet of a server cookie.
const VERSION: u64 = 1;

/// A server cookie: its first eight octets and its last, little-endian.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerCookie {
    /// Version, reserved octets, and the time it was made in seconds since 1970, modulo 2^32, big-endian.
    pub head: u64,
    /// The hash.
    pub hash: u64,
}

impl ServerCookie {
    /// A cookie of the time `now_s`; `client` is the client's cookie, `address` its address as
    /// [`address_words`](crate::address::address_words) has it.
    #[inline(always)]
    pub fn new(secret: &Secret, client: u64, address: [u64; 2], now_s: u32) -> ServerCookie {
        let head = VERSION | (now_s.to_be() as u64) << 32;
        ServerCookie { head, hash: hash(secret, client, head, address) }
    }

    /// Whether it was made with the secret, for this client.
    #[inline(always)]
    pub fn is_of(self, secret: &Secret, client: u64, address: [u64; 2]) -> bool {
        hash(secret, client, self.head, address) == self.hash
    }

    /// Whether it is of the version that is known, and neither too old nor of the future.
    #[inline(always)]
    pub fn is_current(self, now_s: u32) -> bool {
        let age_s = self.age_s(now_s);
        self.head & 0xff == VERSION && (-SKEW_S..=LIFETIME_S).contains(&age_s)
    }

    /// Whether the client may go on with it: it is young, and as this server makes them. What a client puts
    /// into the reserved octets is part of the hash, but nothing to send back.
    #[inline(always)]
    pub fn is_fresh(self, now_s: u32) -> bool {
        self.age_s(now_s) <= RENEWAL_S && self.head as u32 as u64 == VERSION
    }

    /// Seconds since it was made, in serial arithmetic (RFC 1982).
    #[inline(always)]
    fn age_s(self, now_s: u32) -> i32 {
        now_s.wrapping_sub(((self.head >> 32) as u32).swap_bytes()) as i32
    }
}

/// The hash of RFC 9018 section 4.4. All words are little-endian, as the octets lie.
#[inline(always)]
fn hash(secret: &Secret, client: u64, head: u64, address: [u64; 2]) -> u64 {
    let mut hash = SipHash::new(secret);
    hash.absorb(client);
    hash.absorb(head);
    let [high, low] = address;
    // The last word has the number of octets in its last.
    if high == 0 && low & 0xffff_ffff == MAPPED {
        hash.absorb(low >> 32 | 20 << 56);
    } else {
        hash.absorb(high);
        hash.absorb(low);
        hash.absorb(32 << 56);
    }
    hash.finish()
}

/// SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012).
struct SipHash {
    a: u64,
    b: u64,
    c: u64,
    d: u64,
}

impl SipHash {
    #[inline(always)]
    fn new(key: &Secret) -> SipHash {
        SipHash {
            a: key[0] ^ 0x736f_6d65_7073_6575,
            b: key[1] ^ 0x646f_7261_6e64_6f6d,
            c: key[0] ^ 0x6c79_6765_6e65_7261,
            d: key[1] ^ 0x7465_6462_7974_6573,
        }
    }

    #[inline(always)]
    fn absorb(&mut self, word: u64) {
        self.d ^= word;
        self.round();
        self.round();
        self.a ^= word;
    }

    #[inline(always)]
    fn finish(mut self) -> u64 {
        self.c ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.round();
        self.a ^ self.b ^ self.c ^ self.d
    }

    #[inline(always)]
    fn round(&mut self) {
        self.a = self.a.wrapping_add(self.b);
        self.c = self.c.wrapping_add(self.d);
        self.b = self.b.rotate_left(13) ^ self.a;
        self.d = self.d.rotate_left(16) ^ self.c;
        self.a = self.a.rotate_left(32).wrapping_add(self.d);
        self.c = self.c.wrapping_add(self.b);
        self.d = self.d.rotate_left(21) ^ self.a;
        self.b = self.b.rotate_left(17) ^ self.c;
        self.c = self.c.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::address_words;
    use core::net::IpAddr;
    use proptest::prelude::*;

    fn words<const N: usize>(hex: &str) -> [u64; N] {
        core::array::from_fn(|word| {
            let digits = &hex[word * 16..][..16];
            u64::from_str_radix(digits, 16).unwrap().swap_bytes()
        })
    }

    fn address(text: &str) -> [u64; 2] {
        address_words(text.parse::<IpAddr>().unwrap())
    }

    /// The hash of octets 0, 1, 2, … as in the test of the paper's appendix A.
    fn of_sequence(len: u8) -> u64 {
        let mut hash = SipHash::new(&words("000102030405060708090a0b0c0d0e0f"));
        let mut octets = [0; 72];
        for (place, octet) in octets.iter_mut().enumerate().take(len.into()) {
            *octet = place as u8;
        }
        let last = usize::from(len) / 8 * 8;
        octets[last + 7] = len;
        for word in octets[..last + 8].chunks_exact(8) {
            hash.absorb(u64::from_le_bytes(word.try_into().unwrap()));
        }
        hash.finish()
    }

    /// The authors' vectors, of no octet to 63 (the paper's appendix A has that of 15), as openssl computes them.
    #[rustfmt::skip]
    const OF_SEQUENCES: [&str; 64] = [
        "310e0edd47db6f72", "fd67dc93c539f874", "5a4fa9d909806c0d", "2d7efbd796666785",
        "b7877127e09427cf", "8da699cd64557618", "cee3fe586e46c9cb", "37d1018bf50002ab",
        "6224939a79f5f593", "b0e4a90bdf82009e", "f3b9dd94c5bb5d7a", "a7ad6b22462fb3f4",
        "fbe50e86bc8f1e75", "903d84c02756ea14", "eef27a8e90ca23f7", "e545be4961ca29a1",
        "db9bc2577fcc2a3f", "9447be2cf5e99a69", "9cd38d96f0b3c14b", "bd6179a71dc96dbb",
        "98eea21af25cd6be", "c7673b2eb0cbf2d0", "883ea3e395675393", "c8ce5ccd8c030ca8",
        "94af49f6c650adb8", "eab8858ade92e1bc", "f315bb5bb835d817", "adcf6b0763612e2f",
        "a5c91da7acaa4dde", "716595876650a2a6", "28ef495c53a387ad", "42c341d8fa92d832",
        "ce7cf2722f512771", "e37859f94623f3a7", "381205bb1ab0e012", "ae97a10fd434e015",
        "b4a31508beff4d31", "81396229f0907902", "4d0cf49ee5d4dcca", "5c73336a76d8bf9a",
        "d0a704536ba93e0e", "925958fcd6420cad", "a915c29bc8067318", "952b79f3bc0aa6d4",
        "f21df2e41d4535f9", "87577519048f53a9", "10a56cf5dfcd9adb", "eb75095ccd986cd0",
        "51a9cb9ecba312e6", "96afadfc2ce666c7", "72fe52975a4364ee", "5a1645b276d592a1",
        "b274cb8ebf87870a", "6f9bb4203de7b381", "eaecb2a30b22a87f", "9924a43cc1315724",
        "bd838d3aafbf8db7", "0b1a2a3265d51aea", "135079a3231ce660", "932b2846e4d70666",
        "e1915f5cb1eca46c", "f325965ca16d629f", "575ff28e60381be5", "724506eb4c328a95",
    ];

    #[test]
    fn the_vectors_of_siphash() {
        assert_eq!(of_sequence(15), 0xa129_ca61_49be_45e5);
        for (len, hash) in OF_SEQUENCES.iter().enumerate() {
            assert_eq!([of_sequence(len as u8)], words(hash), "{len} octets");
        }
    }

    const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";

    /// RFC 9018 appendix A: secret, client's address and cookie, the time, the server's cookie.
    const MADE: [(&str, &str, &str, u32, &str); 4] = [
        (
            SECRET,
            "198.51.100.100",
            "2464c4abcf10c957",
            1559731985,
            "010000005cf79f111f8130c3eee29480",
        ),
        (
            SECRET,
            "198.51.100.100",
            "2464c4abcf10c957",
            1559734385,
            "010000005cf7a871d4a564a1442aca77",
        ),
        (
            SECRET,
            "203.0.113.203",
            "fc93fc62807ddb86",
            1559734700,
            "010000005cf7a9acf73a7810aca2381e",
        ),
        (
            "445536bcd2513298075a5d379663c962",
            "2001:db8:220:1:59de:d0f4:8769:82b8",
            "22681ab97d52c298",
            1559741961,
            "010000005cf7c609a6bb79d16625507a",
        ),
    ];

    #[test]
    fn the_cookies_of_rfc_9018() {
        for (secret, client_address, client, now_s, made) in MADE {
            let (secret, client, address) =
                (words(secret), words::<1>(client)[0], address(client_address));
            let cookie = ServerCookie::new(&secret, client, address, now_s);
            let [head, hash] = words(made);
            assert_eq!(cookie, ServerCookie { head, hash });
            assert!(cookie.is_of(&secret, client, address));
        }
    }

    /// A.2: 40 minutes old, so a new one is due. A.3: reserved octets are set. A.4: made with an old secret.
    #[test]
    fn the_cookies_that_clients_of_rfc_9018_send() {
        let cookie = |hex| {
            let [head, hash] = words(hex);
            ServerCookie { head, hash }
        };
        let learned = cookie("010000005cf79f111f8130c3eee29480");
        assert!(learned.is_current(1559734385) && !learned.is_fresh(1559734385));

        let reserved = cookie("01abcdef5cf78f71a314227b6679ebf5");
        let (client, client_address) =
            (words::<1>("fc93fc62807ddb86")[0], address("203.0.113.203"));
        assert!(reserved.is_of(&words(SECRET), client, client_address));
        assert!(reserved.is_current(1559727985 + 60) && !reserved.is_fresh(1559727985 + 60));
        // The example says that it is valid after 6715 seconds; section 4.3, that an hour is enough.
        assert!(!reserved.is_current(1559734700));

        let old = cookie("010000005cf7c57926556bd0934c72f8");
        let client = words::<1>("22681ab97d52c298")[0];
        let client_address = address("2001:db8:220:1:59de:d0f4:8769:82b8");
        assert!(old.is_of(&words("dd3bdf9344b678b185a6f5cb60fca715"), client, client_address));
        assert!(!old.is_of(&words("445536bcd2513298075a5d379663c962"), client, client_address));
        assert!(old.is_current(1559741961));
    }

    #[test]
    fn cookies_have_their_time() {
        for made_at in [1_000_000u32, 10, u32::MAX - 10] {
            let cookie = ServerCookie::new(&[1, 2], 3, address("192.0.2.1"), made_at);
            for (age, current, fresh) in [
                (-301, false, true),
                (-300, true, true),
                (0, true, true),
                (1800, true, true),
                (1801, true, false),
                (3600, true, false),
                (3601, false, false),
            ] {
                let now_s = made_at.wrapping_add_signed(age);
                assert_eq!(cookie.is_current(now_s), current, "{made_at} {age}");
                assert_eq!(cookie.is_fresh(now_s), fresh, "{made_at} {age}");
            }
        }
        let newer_version = ServerCookie { head: 2, hash: 0 };
        assert!(!newer_version.is_current(0));
    }

    proptest! {
        /// One bit more or less anywhere, and it is not the cookie.
        #[test]
        fn a_cookie_is_one_client_s(
            secret: [u64; 2],
            client: u64,
            mapped: bool,
            octets: [u64; 2],
            now_s: u32,
            bit in 0usize..64,
        ) {
            let address = if mapped { [0, MAPPED | octets[1] << 32] } else { octets };
            let cookie = ServerCookie::new(&secret, client, address, now_s);
            prop_assert!(cookie.is_of(&secret, client, address));
            let flip = |word: u64| word ^ 1 << bit;
            prop_assert!(!cookie.is_of(&secret, flip(client), address));
            prop_assert!(!cookie.is_of(&[flip(secret[0]), secret[1]], client, address));
            prop_assert!(!cookie.is_of(&[secret[0], flip(secret[1])], client, address));
            prop_assert!(!cookie.is_of(&secret, client, [flip(address[0]), address[1]]));
            prop_assert!(!cookie.is_of(&secret, client, [address[0], flip(address[1])]));
            let other = ServerCookie { head: flip(cookie.head), ..cookie };
            prop_assert!(!other.is_of(&secret, client, address));
        }
    }
}
