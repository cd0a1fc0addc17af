//! Chooses at random which files of a backup a drill restores. Every file can be chosen.
//!
//! Each file gets a number from its path and a seed, and the files with the lowest numbers are chosen. So rlvm reads
//! a list of any length once, and keeps only the candidates.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
};

use crate::restic::{Node, NodeSort};

/// From which size on a file is a large one: restic cuts it into several pieces.
const LARGE: u64 = 1 << 20;
/// Up to which size one is small: it shares a pack with many others.
const SMALL: u64 = 64 << 10;
/// How many directories are remembered, beside the files, each with the first one of it.
const DIRECTORIES: usize = 10_000;

/// Draws files.
#[derive(Clone, Debug)]
pub struct Sample {
    seed: u64,
    files: usize,
    bytes: u64,
    /// The lowest of all.
    all: BTreeMap<u64, Node>,
    /// The lowest of large and of small ones.
    large: BTreeMap<u64, Node>,
    small: BTreeMap<u64, Node>,
    /// The lowest of each directory, by the number of that one.
    first: BTreeMap<u64, (u64, Node)>,
    /// The largest and the smallest, where none is large or small.
    ends: Option<(Node, Node)>,
}

impl Sample {
    /// Draws so many files, which have no more bytes together.
    pub fn new(seed: u64, files: usize, bytes: u64) -> Self {
        let none = BTreeMap::new();
        let (all, large, small, first) = (none.clone(), none.clone(), none, BTreeMap::new());
        Self { seed, files, bytes, all, large, small, first, ends: None }
    }

    /// Takes a file into account. What is no file is passed over, and what cannot be asked for: a name that is no UTF-8,
    /// and what is larger than all that may be restored.
    pub fn add(&mut self, node: &Node) {
        let named = !node.path.contains(['\u{fffd}', '\n']);
        if node.sort != NodeSort::File || !named || node.size > self.bytes {
            return;
        }
        let number = self.number(&node.path);
        keep(&mut self.all, number, node, self.files);
        if node.size >= LARGE {
            keep(&mut self.large, number, node, self.files);
        } else if node.size <= SMALL {
            keep(&mut self.small, number, node, 1);
        }
        let directory = self.number(directory(&node.path));
        let better = self.first.get(&directory).is_none_or(|(first, _)| number < *first);
        if better {
            self.first.insert(directory, (number, node.clone()));
            if self.first.len() > DIRECTORIES {
                self.first.pop_last();
            }
        }
        let (largest, smallest) = self.ends.get_or_insert_with(|| (node.clone(), node.clone()));
        if node.size > largest.size {
            *largest = node.clone();
        } else if node.size < smallest.size {
            *smallest = node.clone();
        }
    }

    /// Returns what was drawn: one that is small and one that is large first, as far as there are such; then of different
    /// directories; then whichever.
    pub fn drawn(self) -> Vec<Node> {
        let (largest, smallest) = self.ends.unzip();
        let mut taken =
            Taken { files: self.files, bytes: self.bytes, nodes: Vec::new(), paths: BTreeSet::new() };
        // A small one first: it leaves room for a large one, and not the other way round.
        taken.one_of(self.small.into_values().chain(smallest));
        taken.one_of(self.large.into_values().chain(largest));
        let directories: BTreeSet<String> =
            taken.nodes.iter().map(|node| directory(&node.path).to_owned()).collect();
        // In the order of the directories' numbers, else a large one would always come first.
        let others = self.first.into_values().map(|(_, node)| node);
        let others = others.filter(|node| !directories.contains(directory(&node.path)));
        let half = self.files.div_ceil(2).max(taken.nodes.len());
        others.take(half).for_each(|node| {
            taken.take(node);
        });
        self.all.into_values().for_each(|node| {
            taken.take(node);
        });
        taken.nodes
    }

    fn number(&self, text: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, text).hash(&mut hasher);
        hasher.finish()
    }
}

/// What was drawn so far.
struct Taken {
    files: usize,
    bytes: u64,
    nodes: Vec<Node>,
    paths: BTreeSet<String>,
}

impl Taken {
    fn take(&mut self, node: Node) -> bool {
        let fits = self.nodes.len() < self.files && node.size <= self.bytes;
        if !fits || !self.paths.insert(node.path.clone()) {
            return false;
        }
        self.bytes -= node.size;
        self.nodes.push(node);
        true
    }

    fn one_of(&mut self, nodes: impl Iterator<Item = Node>) {
        for node in nodes {
            if self.take(node) {
                break;
            }
        }
    }
}

fn keep(lowest: &mut BTreeMap<u64, Node>, number: u64, node: &Node, most: usize) {
    if lowest.len() < most || lowest.last_key_value().is_some_and(|(last, _)| number < *last) {
        lowest.insert(number, node.clone());
    }
    if lowest.len() > most {
        lowest.pop_last();
    }
}

fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(path: &str, size: u64) -> Node {
        Node::read(&format!(r#"{{"type":"file","path":"{path}","size":{size}}}"#)).unwrap()
    }

    fn drawn(seed: u64, files: usize, bytes: u64, listing: &[Node]) -> Vec<Node> {
        let mut sample = Sample::new(seed, files, bytes);
        for node in listing {
            sample.add(node);
        }
        sample.drawn()
    }

    /// Many small files in one directory, few elsewhere, two of them large.
    fn listing() -> Vec<Node> {
        let mail = (0..500).map(|it| node(&format!("/var/mail/{it}"), 3000));
        let others = (0..9).map(|it| node(&format!("/etc/{it}/conf"), 70_000));
        let large = [node("/srv/disk", 5 << 20), node("/srv/db/data", 2 << 20)];
        mail.chain(others).chain(large).collect()
    }

    #[test]
    fn a_large_and_a_small_one_of_different_directories() {
        // R77
        for seed in 0..50 {
            let some = drawn(seed, 6, 1 << 30, &listing());
            assert_eq!(some.len(), 6);
            assert!(some.iter().any(|it| it.size >= LARGE) && some.iter().any(|it| it.size <= SMALL));
            let directories: BTreeSet<&str> = some.iter().map(|it| directory(&it.path)).collect();
            assert!(directories.len() >= 3, "{directories:?}");
        }
        let two = drawn(1, 2, 1 << 30, &listing());
        assert!(two[0].size <= SMALL && two[1].size >= LARGE);
        // Where none is large the largest will do.
        let plain: Vec<Node> = listing().into_iter().filter(|it| it.size < LARGE).collect();
        assert_eq!(drawn(1, 2, 1 << 30, &plain).iter().map(|it| it.size).collect::<Vec<_>>(), [3000, 70_000]);
    }

    #[test]
    fn each_could_come_up() {
        // R77
        let all = listing();
        let mut seen = BTreeSet::new();
        for seed in 0..2000 {
            seen.extend(drawn(seed, 20, 1 << 30, &all).into_iter().map(|it| it.path));
        }
        assert_eq!(seen.len(), all.len());
    }

    #[test]
    fn what_cannot_be_asked_for_never_comes_up() {
        let special = r#"{"type":"fifo","path":"/run/pipe"}"#;
        let dir = r#"{"type":"dir","path":"/run"}"#;
        let mut all: Vec<Node> = [special, dir].iter().map(|it| Node::read(it).unwrap()).collect();
        all.push(node("/a/\u{fffd}", 3));
        all.push(node("/a/large", 1 << 30));
        assert_eq!(drawn(1, 20, 1 << 20, &all), []);
        all.push(node("/a/well", 0));
        assert_eq!(drawn(1, 20, 1 << 20, &all), [node("/a/well", 0)]);
        assert_eq!(drawn(1, 0, 1 << 20, &all), []);
    }

    proptest! {
        #[test]
        fn never_more_than_was_asked_for(
            seed: u64, files in 0_usize..30, bytes in 0_u64..(20 << 20),
            sizes in proptest::collection::vec(0_u64..(8 << 20), 0..60),
        ) {
            let all: Vec<Node> =
                sizes.iter().enumerate().map(|(at, size)| node(&format!("/{}/{at}", at % 7), *size)).collect();
            let some = drawn(seed, files, bytes, &all);
            prop_assert!(some.len() <= files && some.iter().map(|it| it.size).sum::<u64>() <= bytes);
            let paths: BTreeSet<&str> = some.iter().map(|it| it.path.as_str()).collect();
            prop_assert_eq!(paths.len(), some.len());
            if sizes.iter().sum::<u64>() <= bytes {
                prop_assert_eq!(some.len(), files.min(all.len()));
            }
            // The same whatever the order.
            let back: Vec<Node> = all.iter().rev().cloned().collect();
            if sizes.iter().collect::<BTreeSet<_>>().len() == sizes.len() {
                prop_assert_eq!(drawn(seed, files, bytes, &back), some);
            }
        }
    }
}
