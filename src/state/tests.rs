//! What a whole state means.

use super::*;

#[test]
fn dump() {
    for file in std::env::args().skip_while(|a| a != "--").skip(1) {
        println!("{file}");
    }
    let dir = "/work/shared/design/state/";
    for host in ["web01", "nas"] {
        #[expect(clippy::disallowed_methods, reason = "x")]
        let loaded = load(&format!("{dir}hosts/{host}.yaml"), &mut |name| Ok(std::fs::read_to_string(name)?));
        match loaded {
            Ok(loaded) => println!("{}\n{}", loaded.warnings, to_yaml(&loaded.state).unwrap()),
            Err(problems) => println!("{problems}"),
        }
    }
}
