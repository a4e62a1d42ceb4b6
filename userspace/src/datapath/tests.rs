//! The real object on devices of the test's own.
