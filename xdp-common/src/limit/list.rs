//! Lists: prefixes that are exempt or blocked, names that are blocked or have a policy of their own.

/// A prefix that is listed.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ListEntry {
    /// From this second since 1970 on the entry does not count; 0 for never.
    pub expires_s: u64,
    /// See [`flag`].
    pub flags: u32,
    /// Reserved, zero.
    pub reserved: u32,
}

/// A name that is listed: it stands for itself and all below it, except what is below a longer one that is
/// listed for the same.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NameEntry {
    /// As in [`ListEntry`]; the block expires, the policy does not.
    pub expires_s: u64,
    /// See [`flag`].
    pub flags: u32,
    /// The place of its policy.
    pub policy: u32,
}

/// What an entry says.
pub mod flag {
    /// Queries are dropped.
    pub const BLOCK: u32 = 1;
    /// Counted as if they were, and answered.
    pub const DRY_RUN: u32 = 2;
    /// A name has a policy of its own.
    pub const POLICY: u32 = 4;
}

impl ListEntry {
    /// Whether the entry counts at this second since 1970.
    #[inline(always)]
    pub const fn holds(&self, now_s: u64) -> bool {
        lasts(self.expires_s, now_s)
    }
}

impl NameEntry {
    /// What it does to queries at this second since 1970: [`flag::BLOCK`], [`flag::DRY_RUN`] if it only counts, or
    /// nothing.
    #[inline(always)]
    pub const fn block(&self, now_s: u64) -> u32 {
        if self.flags & flag::BLOCK == 0 || !lasts(self.expires_s, now_s) {
            return 0;
        }
        if self.flags & flag::DRY_RUN != 0 { flag::DRY_RUN } else { flag::BLOCK }
    }
}

/// What is listed for the name of a question: the flags of its block, and the place of its policy.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameListing {
    /// The [`block`](NameEntry::block)s of all that is listed for it: [`flag::BLOCK`] if any of them is more than
    /// counted; 0 for none.
    pub block: u32,
    /// 0 for the default policy.
    pub policy: u32,
}

/// Whether an entry that expires at one second, 0 for never, counts at another.
#[inline(always)]
const fn lasts(expires_s: u64, now_s: u64) -> bool {
    expires_s == 0 || now_s < expires_s
}

const _: () = assert!(size_of::<ListEntry>() == 16 && size_of::<NameEntry>() == 16);
