//! The machine whose `/` is on a logical volume, itself: what scenarios of `rlvm run` stand on.

use super::Vm;

#[test]
fn everything_is_where_it_should_be_and_stays_there() {
    let vm = Vm::lvm();
    println!("{}", vm.ok("lsblk -f; findmnt --real; lvs -a; vgs; cat /proc/mounts"));
}
