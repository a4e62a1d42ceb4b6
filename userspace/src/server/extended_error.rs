//! Why a response is no answer (RFC 8914).

/// Extended DNS error codes (RFC 8914 section 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtendedError(pub u16);

#[allow(missing_docs, reason = "the names are the registry's own")]
impl ExtendedError {
    pub const DNSSEC_BOGUS: ExtendedError = ExtendedError(6);
    pub const SIGNATURE_EXPIRED: ExtendedError = ExtendedError(7);
    pub const NOT_READY: ExtendedError = ExtendedError(14);
    pub const PROHIBITED: ExtendedError = ExtendedError(18);
    pub const NOT_AUTHORITATIVE: ExtendedError = ExtendedError(20);
}
