//! Defines checked types: a path, a mode, a name, a size, a schedule. No I/O.
//!
//! Each type parses the text that a person writes, and explains in one sentence what is wrong with it. Inside the
//! program no plain `String` stands for one of them. The schema knows each type by a `format` of its own
//! ([`FORMATS`]), so that the same parser also does the checks that an editor cannot do.

mod address;
mod calendar;
mod data_prune;
pub(crate) mod field;
mod from_patterns;
mod key_type;
pub(crate) mod known_host;
mod line;
mod list;
mod lv;
mod mask;
mod mode;
mod name;
mod next;
mod path;
mod pattern;
pub(crate) mod public_key;
mod read_data;
mod release;
mod retention;
mod run_id;
mod schedule;
mod scope;
mod secret;
mod size;
mod span;
mod text;
mod url;

pub use address::Address;
pub use data_prune::{DataPrune, UnusedData};
pub use from_patterns::FromPatterns;
pub use key_type::KeyType;
pub use known_host::{KnownHost, Marker, known_name};
pub use line::{Line, Script};
pub use list::OneOrMore;
pub use lv::LvName;
pub use mask::{mask_in_place, mask_passwords};
pub use mode::Mode;
pub use name::{GroupName, HostName, Name, UserName};
pub use path::HostPath;
pub use pattern::{PathPattern, malformed_exclude};
pub use public_key::PublicKey;
pub use read_data::ReadData;
pub use release::{Release, Sha256};
pub use retention::Retention;
pub use run_id::RunId;
pub use schedule::Schedule;
pub use scope::{Personal, Scope};
pub use secret::SecretFile;
pub use size::Size;
pub use span::Span;
pub use text::{BadText, FORMATS, Format};
pub use url::{FetchUrl, Server, Url};
