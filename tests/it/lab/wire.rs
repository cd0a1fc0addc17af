//! A wire between two laboratories: each has a network of its own, and they reach each other by addresses and names.

use std::fs::OpenOptions;
use std::io::Write;

use super::Lab;

/// Where one end of a wire is reached.
pub(crate) struct End<'a> {
    /// The machine.
    pub(crate) lab: &'a Lab,
    /// Its address on the wire, in 10.77.0.0/24.
    pub(crate) address: &'a str,
    /// By what name both know it.
    pub(crate) name: &'a str,
}

/// Lays a wire. It goes with the first of the two machines that ends.
pub(crate) fn wire(ends: [&End<'_>; 2]) {
    let [here, there] = ends;
    // Another process's number means the caller's to the kernel: so it is not called from within.
    let words = here.lab.machine.enter(&["net"]);
    let holder = there.lab.machine.holder().to_string();
    let add = ["ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", holder.as_str()];
    let ran = here.lab.ran(&mut here.lab.behind(&words, &add));
    assert_eq!(ran.code, Some(0), "this test needs a kernel with veth: {ran:?}");
    for end in ends {
        end.lab.ok(&["ip", "address", "add", &format!("{}/24", end.address), "dev", "wire"]);
        end.lab.ok(&["ip", "link", "set", "wire", "up"]);
        for known in ends {
            let mut hosts = OpenOptions::new().append(true).open(end.lab.at("/etc/hosts")).unwrap();
            writeln!(hosts, "{} {}", known.address, known.name).unwrap();
        }
    }
}
