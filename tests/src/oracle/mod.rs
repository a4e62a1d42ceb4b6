<<<<<<< HEAD
//! Other people's tools on what this program makes.

pub mod signing;
=======
//! Other implementations on the same input.

pub mod zone_text;
>>>>>>> zone
