//! Zones as text: RFC 1035 master files in, presentation format out.
//!
//! | to … | use |
//! |---|---|
//! | read a zone from the file system | [`read`]; with its warnings, [`load`] |
//! | find all that is wrong with a file | [`check_file`] |
//! | read a zone from memory | [`parse`], handing it who loads `$INCLUDE` files |
//! | write a zone | [`write()`] |
//!
//! What is read beyond RFC 1035: `$TTL` (RFC 2308), `$GENERATE` and TTL units as BIND has them,
//! unknown types, classes and RDATA (RFC 3597), a UTF-8 byte order mark, CRLF, octets that are not
//! ASCII as they are. Of classes there is IN only.
//!
//! Only [`files`] opens files; all else here works on what it is handed.

mod codecs;
mod cursor;
mod error;
mod fields;
pub mod files;
mod generate;
mod head;
mod lexer;
mod names;
mod places;
mod rare;
mod reader;
mod scanner;
mod show;
mod svcb;
mod table;
mod well_formed;
mod writer;
mod zone_faults;

pub use codecs::point_in_time;
pub use error::{Place, ReadError, Warning};
pub use files::{check_file, load, read};
pub use places::Places;
pub use reader::{
    CheckedFile, Loader, MAX_GENERATED, MAX_INCLUDE_DEPTH, MAX_INCLUDES, Options, ReadZone, check,
    parse,
};
pub(crate) use well_formed::well_formed;
pub use writer::{write, write_record};
pub use zone_faults::MAX_WARNINGS;

#[cfg(test)]
mod tests;
