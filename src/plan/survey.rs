//! Lists what to observe and decide: all declared resources, and all others that the ledger knows.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap},
};

use anyhow::{Result, bail};

use crate::{
    expand::{Declared, Expanded},
    ledger::{Entry, Ledger},
    model::{Address, HostPath},
    resource::Resource,
};

/// One resource: as declared, as the ledger knows it, or both.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Its address.
    pub address: &'a Address,
    /// As declared.
    pub declared: Option<&'a Declared>,
    /// As the ledger knows it; under its old name, if it was renamed.
    pub entry: Option<&'a Entry>,
    /// The old name, if it was renamed.
    pub was: Option<&'a Address>,
}

impl<'a> Item<'a> {
    /// Returns the resource as it is declared, or else as it was last applied.
    pub fn resource(&self) -> &'a Resource {
        match (self.declared, self.entry) {
            (Some(declared), _) => &declared.resource,
            (None, Some(entry)) => &entry.resource,
            (None, None) => unreachable!("an item is declared, or the ledger knows it"),
        }
    }
}

/// All items, in the order of their addresses.
#[derive(Clone, Debug, Default)]
pub struct Survey<'a> {
    /// The items.
    pub items: Vec<Item<'a>>,
}

impl<'a> Survey<'a> {
    /// Puts declared and known side by side. With targets, only these and what they need.
    ///
    /// # Errors
    ///
    /// If a target is neither declared nor known.
    pub fn new(expanded: &'a Expanded, ledger: &'a Ledger, targets: &[Address]) -> Result<Self> {
        let mut renamed: BTreeMap<&Address, &Address> = BTreeMap::new();
        for (address, declared) in expanded.resources.iter().filter(|(_, declared)| !declared.was.is_empty())
        {
            let known = |was: &&'a Address| {
                ledger.entries.contains_key(*was) && !expanded.resources.contains_key(*was)
            };
            let old = declared.was.iter().find(known).filter(|_| !ledger.entries.contains_key(address));
            renamed.extend(old.map(|was| (was, address)));
        }
        let old_name: BTreeMap<&Address, &Address> =
            renamed.iter().map(|(was, address)| (*address, *was)).collect();
        let mut items = Vec::with_capacity(expanded.resources.len());
        // Both are in the order of addresses: one pass puts them side by side.
        let mut entries = ledger.entries.iter().peekable();
        let undeclared = |(address, entry): (&'a Address, &'a Entry)| {
            let item = Item { address, declared: None, entry: Some(entry), was: None };
            (!renamed.contains_key(address)).then_some(item)
        };
        for (address, declared) in &expanded.resources {
            let before = std::iter::from_fn(|| entries.next_if(|(known, _)| *known < address));
            items.extend(before.filter_map(undeclared));
            let own = entries.next_if(|(known, _)| *known == address).map(|(_, entry)| entry);
            let was = old_name.get(address).copied();
            let entry = own.or_else(|| ledger.entries.get(was?));
            items.push(Item { address, declared: Some(declared), entry, was });
        }
        items.extend(entries.filter_map(undeclared));
        let survey = Self { items };
        if targets.is_empty() { Ok(survey) } else { survey.only(targets) }
    }

    /// Keeps the targets and what they need.
    fn only(self, targets: &[Address]) -> Result<Self> {
        let needs = self.needs();
        let mut keep = BTreeSet::new();
        let mut next = Vec::new();
        for target in targets {
            match self.items.binary_search_by_key(&target, |item| item.address) {
                Ok(index) => next.push(index),
                Err(_) => bail!("no resource is called {target}{}", self.similar(target)),
            }
        }
        while let Some(index) = next.pop() {
            if keep.insert(index) {
                next.extend(&needs[index]);
            }
        }
        Ok(Self { items: keep.into_iter().map(|index| self.items[index]).collect() })
    }

    /// Returns the index of the item with this address.
    pub(super) fn index_of(&self, address: &str) -> Option<usize> {
        self.items.binary_search_by_key(&address, |item| item.address.as_str()).ok()
    }

    fn similar(&self, target: &Address) -> String {
        let distance = |item: &&Item<'_>| strsim::damerau_levenshtein(item.address.as_str(), target.as_str());
        match self.items.iter().min_by_key(distance) {
            Some(item) => format!("; did you mean {}?", item.address),
            None => String::new(),
        }
    }

    /// Lists for each item those that it needs, by their index: the directory that it lies in, and what its kind
    /// names.
    pub fn needs(&self) -> Vec<Vec<usize>> {
        let directories: HashMap<&str, usize> = self
            .items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| match item.resource() {
                Resource::Directory(directory) => Some((directory.path.as_str(), index)),
                _ => None,
            })
            .collect();
        let by_address =
            |address: &Address| self.items.binary_search_by_key(&address, |item| item.address).ok();
        let of = |item: &Item<'_>| {
            let resource = item.resource();
            // The nearest one: directories between may be nobody's business.
            let above = std::iter::successors(resource.path().and_then(HostPath::parent), HostPath::parent);
            let above = above.into_iter().find_map(|dir| directories.get(dir.as_str()).copied());
            above.into_iter().chain(resource.needs().iter().filter_map(by_address)).collect()
        };
        self.items.iter().map(of).collect()
    }
}

/// Puts what is needed before what needs it; else what is slow after what is not, so that apply can do all that is
/// slow side by side; else by index, so that the order of writing means nothing.
///
/// # Errors
///
/// If some need each other: these.
pub(super) fn order(needs: &[Vec<usize>], is_slow: &dyn Fn(usize) -> bool) -> Result<Vec<usize>, Vec<usize>> {
    let mut open: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (index, needs) in needs.iter().enumerate() {
        for need in needs {
            needed_by[*need].push(index);
        }
    }
    let turn = |index: usize| Reverse((is_slow(index), index));
    let ready = open.iter().enumerate().filter(|(_, open)| **open == 0).map(|(index, _)| turn(index));
    let mut ready: BinaryHeap<Reverse<(bool, usize)>> = ready.collect();
    let mut ordered = Vec::with_capacity(needs.len());
    while let Some(Reverse((_, index))) = ready.pop() {
        ordered.push(index);
        for user in &needed_by[index] {
            open[*user] -= 1;
            if open[*user] == 0 {
                ready.push(turn(*user));
            }
        }
    }
    if ordered.len() == needs.len() {
        return Ok(ordered);
    }
    Err((0..needs.len()).filter(|index| open[*index] > 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_first() {
        let order = |needs: &[Vec<usize>]| order(needs, &|_| false);
        assert_eq!(order(&[]), Ok(vec![]));
        assert_eq!(order(&[vec![], vec![]]), Ok(vec![0, 1]));
        assert_eq!(order(&[vec![1], vec![]]), Ok(vec![1, 0]));
        assert_eq!(order(&[vec![2], vec![0], vec![]]), Ok(vec![2, 0, 1]));
        assert_eq!(order(&[vec![1, 1], vec![]]), Ok(vec![1, 0]), "twice the same need is one");
        assert_eq!(order(&[vec![1], vec![0], vec![]]), Err(vec![0, 1]));
        assert_eq!(order(&[vec![0]]), Err(vec![0]));
    }

    #[test]
    fn what_is_slow_waits_for_the_rest() {
        let slow = |index: usize| index == 0 || index == 2;
        assert_eq!(order(&[vec![], vec![], vec![3], vec![]], &slow), Ok(vec![1, 3, 0, 2]));
        // What needs something slow comes after it all the same.
        assert_eq!(order(&[vec![], vec![0], vec![], vec![]], &slow), Ok(vec![3, 0, 1, 2]));
    }
}
