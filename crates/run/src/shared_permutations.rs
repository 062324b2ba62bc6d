//! Shares long permutations of a plan between the ranks of a node, in one copy.

use std::sync::Arc;

use dlio_comm::shared::{self, SharedArrays};
use dlio_plan::{
    FillNumbers, LocalPermutations, PermutationKey, PermutationStore, PermutedNumbers, Split, TrainingPlan,
};

use crate::failure::Failure;
use crate::session::Session;

/// Minimum length of a shared permutation, in numbers: below it (4 MiB), sharing costs more than a copy.
const LONG: u32 = 1 << 20;

/// The permutations of this rank: long ones are shared with the other ranks of the node.
#[derive(Debug)]
struct NodeLists {
    arrays: SharedArrays,
    /// The permutation that each shared array holds.
    shared: Vec<PermutationKey>,
    own: LocalPermutations,
}

/// Returns the same plan with its long permutations computed once per node. Every rank calls this function.
///
/// # Errors
/// If a collective operation fails. A rank that cannot share memory keeps its own copies, and rank 0 logs a warning.
pub(crate) async fn share(session: &Session, plan: TrainingPlan) -> Result<TrainingPlan, Failure> {
    let mut long = Vec::new();
    for list in [Split::Train, Split::Eval].into_iter().flat_map(|split| plan.lists(split)) {
        if list.len >= LONG && !long.contains(&list) {
            long.push(list);
        }
    }
    // Plan and number of ranks are the same on all ranks, so either all of them share or none does.
    if long.is_empty() || session.comm.place().size == 1 {
        return Ok(plan);
    }
    let lens: Vec<usize> = long.iter().map(|list| list.len as usize).collect();
    let sharing = shared::share(&*session.comm, &lens).await?;
    if let Some((rank, reason)) = sharing.refused.first() {
        let bytes: usize = lens.iter().map(|len| len * size_of::<u32>()).sum();
        session.warn(&format!(
            "{} rank(s) keep {} MiB of shuffled lists each, which the ranks of a node share otherwise; rank {rank}: {reason}",
            sharing.refused.len(),
            bytes >> 20
        ));
    }
    Ok(match sharing.arrays {
        None => plan,
        Some(arrays) => {
            let lists: Arc<dyn PermutationStore> =
                Arc::new(NodeLists { arrays, shared: long, own: LocalPermutations::default() });
            plan.with_lists(&lists)
        }
    })
}

impl PermutationStore for NodeLists {
    fn numbers(&self, list: PermutationKey, epoch: u32, make: FillNumbers<'_>) -> PermutedNumbers {
        let Some(number) = self.shared.iter().position(|shared| *shared == list) else {
            return self.own.numbers(list, epoch, make);
        };
        match self.arrays.version(number, epoch, make) {
            Ok(numbers) => PermutedNumbers::new(Arc::new(numbers)),
            Err(reason) => {
                tracing::warn!(
                    "this rank makes its own copy of {} shuffled numbers for epoch {epoch}: {reason}",
                    list.len
                );
                self.own.numbers(list, epoch, make)
            }
        }
    }
}
