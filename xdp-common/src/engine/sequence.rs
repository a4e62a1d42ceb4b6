//! The steps of planning, in their order: for the host, which takes them in one go. In the kernel each is a program.

use crate::Outcome;
use crate::engine::{alias, deny, gap, proofs};
use crate::image::Store;
use crate::state::{Scratch, Step};

/// Takes steps until the plan is complete, all of them in one go: for the host.
pub fn run<S: Store>(store: &S, scratch: &mut Scratch, first: Step) -> Result<Outcome, Outcome> {
    let mut step = first;
    loop {
        if let Step::Done(outcome) = step {
            let Scratch { plan, absence, cells, .. } = scratch;
            return proofs::finish::<S>(plan, absence, cells, outcome);
        }
        step = take(store, scratch, step)?;
    }
}

/// Takes one step that is not the last: in the kernel a program of its own.
pub fn take<S: Store>(store: &S, scratch: &mut Scratch, step: Step) -> Result<Step, Outcome> {
    scratch.absence.note(&step);
    match step {
        Step::Done(_) => Ok(step),
        Step::At(..) | Step::Chase(_) => alias::follow(store, scratch),
        Step::Absent(..) => deny::enclose(store, scratch),
        Step::Redirect => alias::redirect(store, scratch),
        Step::Hash => gap::hash(store, scratch),
        Step::Conclude => deny::conclude(store, scratch),
    }
}
