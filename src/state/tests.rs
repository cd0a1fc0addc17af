//! What a whole state means.

use super::*;

#[test]
fn dump() {
    println!("{}", serde_json::to_string_pretty(&schema()).unwrap());
}
