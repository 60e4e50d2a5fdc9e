use super::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
struct Number(u32, Vec<u8>);

impl Item for Number {
    type Key = u32;

    const LEAF_ITEMS_MAX: usize = 8;

    fn key(&self) -> &u32 {
        &self.0
    }

    fn heap_bytes(&self) -> usize {
        self.1.len()
    }
}

fn check(tree: &Tree<Number>, model: &BTreeMap<u32, Vec<u8>>) {
    tree.check();
    assert_eq!(tree.len(), model.len());
    assert!(tree.iter().map(|item| (&item.0, &item.1)).eq(model));
    assert!(tree.iter_back_from(tree.len().wrapping_sub(1)).map(|item| (&item.0, &item.1)).eq(model.iter().rev()));
    for rank in (0..model.len()).step_by(17) {
        let (key, _) = model.iter().nth(rank).expect("a rank below the length");
        assert_eq!(tree.get(rank).map(|(item, offset)| (item.0, offset)), Some((*key, 0)));
        assert_eq!((tree.rank(|k| k.cmp(key)), tree.rank(|k| k.cmp(&(key + 1)))), (rank, rank + 1));
        assert!(tree.iter_from(rank).map(|item| item.0).eq(model.range(key..).map(|(key, _)| *key)));
        assert!(tree.iter_back_from(rank).map(|item| item.0).eq(model.range(..=key).rev().map(|(key, _)| *key)));
    }
}

#[test]
fn any_sequence_of_changes_equals_the_same_on_a_map_and_clones_keep_what_they_saw() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut tree, mut model) = (Tree::new(), BTreeMap::new());
        let mut clones = Vec::new();
        let range = random.u32(10..6000);
        let mut grows = true;
        for step in 0..3000 {
            if random.u32(..400) == 0 {
                grows = !grows;
            }
            let key = if random.u8(..4) == 0 { step } else { random.u32(..range) };
            let value = vec![0; random.usize(..20)];
            match random.u8(..10) {
                0..7 if grows => {
                    let replaced = tree.insert(|k| k.cmp(&key), Number(key, value.clone()));
                    assert_eq!(replaced.map(|old| old.1), model.insert(key, value));
                }
                7 => {
                    let changed = tree.update(|k| k.cmp(&key), |item| item.1 = value.clone());
                    assert_eq!(changed.is_some(), model.contains_key(&key));
                    model.entry(key).and_modify(|old| *old = value);
                }
                8 if !model.is_empty() => {
                    let rank = random.usize(..model.len());
                    let item = tree.remove_at(rank);
                    assert_eq!(model.remove(&item.0), Some(item.1));
                }
                _ => assert_eq!(tree.remove(|k| k.cmp(&key)).map(|old| old.1), model.remove(&key)),
            }
            assert_eq!(tree.find(|k| k.cmp(&key)).map(|item| &item.1), model.get(&key), "seed {seed}");
            if random.u32(..500) == 0 {
                clones.push((tree.clone(), model.clone()));
            }
        }
        check(&tree, &model);
        clones.iter().for_each(|(tree, model)| check(tree, model));
    }
}

/// An item of several elements, without a key.
#[derive(Clone, Debug)]
struct Run(Vec<u32>);

impl Item for Run {
    type Key = ();

    const LEAF_ITEMS_MAX: usize = 4;

    fn key(&self) -> &() {
        &()
    }

    fn weight(&self) -> usize {
        self.0.len()
    }

    fn heap_bytes(&self) -> usize {
        self.0.len() * 4
    }
}

#[test]
fn items_of_any_weight_are_found_by_rank() {
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut tree, mut model) = (Tree::<Run>::new(), Vec::<Vec<u32>>::new());
        for step in 0..400u32 {
            let run: Vec<u32> = (0..random.u32(1..6)).map(|i| step * 10 + i).collect();
            let at = match random.u8(..4) {
                0 => 0,
                1 => model.len(),
                _ => random.usize(..=model.len()),
            };
            let rank: usize = model[..at].iter().map(Vec::len).sum();
            match random.u8(..5) {
                0 if at < model.len() => {
                    assert_eq!(tree.remove_at(rank).0, model.remove(at));
                }
                1 if at < model.len() => {
                    tree.update_at(rank, |item: &mut Run| item.0 = run.clone());
                    model[at] = run;
                }
                _ => {
                    tree.insert_at(rank, Run(run.clone()));
                    model.insert(at, run);
                }
            }
            tree.check();
        }
        let flat: Vec<u32> = model.concat();
        assert_eq!(tree.len(), flat.len());
        for (rank, element) in flat.iter().enumerate() {
            let (item, offset) = tree.get(rank).expect("a rank below the length");
            assert_eq!(item.0[offset], *element, "seed {seed}");
        }
        assert!(tree.get(flat.len()).is_none());
    }
}

#[test]
fn what_is_filled_in_order_is_full() {
    let (mut forward, mut backward) = (Tree::<Number>::new(), Tree::<Number>::new());
    for number in 0..10_000 {
        forward.push(Number(number, Vec::new()));
        let key = 10_000 - number;
        backward.insert(|k| k.cmp(&key), Number(key, Vec::new()));
    }
    for tree in [&forward, &backward] {
        tree.check();
        let per_item = tree.heap_bytes() as f64 / 10_000.0;
        assert!(per_item < 1.45 * size_of::<Number>() as f64, "{per_item} bytes for each of {}", size_of::<Number>());
    }
}

#[test]
fn freeing_takes_many_small_steps_and_leaves_clones_whole() {
    let mut tree = Tree::<Number>::new();
    (0..10_000).for_each(|number| tree.push(Number(number, Vec::new())));
    let clone = tree.clone();
    assert!(tree.free_some(100), "all is shared: letting go of it costs nothing");
    drop(tree);
    clone.check();
    let mut tree = clone;
    let mut steps = 0;
    while !tree.free_some(100) {
        steps += 1;
    }
    assert!((90..=110).contains(&steps), "{steps} steps");
}
