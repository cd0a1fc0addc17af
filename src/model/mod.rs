//! Checked words: what a path, a mode, a name, a size, a schedule is. No I/O.
//!
//! Each type parses from the text a person writes and says in one sentence what is wrong with it; inside the
//! program no plain `String` stands for one of them. Each is known to the schema by a `format` of its own
//! ([`FORMATS`]), so that the check a person's editor cannot do is done by the very same parser.

mod address;
mod mode;
mod name;
mod path;
mod secret;
mod text;

pub use address::Address;
pub use mode::Mode;
pub use name::{GroupName, HostName, Name, UserName};
pub use path::HostPath;
pub use secret::SecretFile;
pub use text::{BadText, Format, FORMATS};
