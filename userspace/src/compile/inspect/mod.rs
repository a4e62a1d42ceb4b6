//! Looking into an image: what it holds for a name, why a query is answered as it is, and whether all of it is
//! right.
//!
//! | to … | use |
//! |---|---|
//! | read a piece or a node back | [`records`], [`nodes`] |
//! | make the frame of a query | [`client_query`] |
//! | say what is held for a name | [`lookup`] |
//! | take a query's steps and say what each found | [`explain`] |
//! | check a zone as the maps hold it | [`verify`] |

pub mod client_query;
pub mod explain;
pub mod lookup;
pub mod nodes;
pub mod records;
mod relations;
mod survey;
pub mod verify;

#[cfg(test)]
mod tests;
