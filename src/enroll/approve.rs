//! Whether people have to decide.

use std::sync::Arc;

use super::core::Core;
use super::issue;
use super::select_profile::Ordered;
use super::stage::{Flow, Step};
use super::{EnrollError, Outcome, Rejection, RejectionCode};
use crate::inventory::Opened;
use crate::policy::Approval;

/// A request that nobody has to look at any more.
pub struct Approved {
    pub(super) ordered: Ordered,
}

/// The step.
#[derive(Clone)]
pub(crate) struct Approve(pub(crate) Arc<Core>);

impl Step<Ordered> for Approve {
    type Out = Approved;

    async fn step(&self, ordered: Ordered) -> Result<Flow<Approved>, EnrollError> {
        let grouped = &ordered.permitted.authenticated.grouped;
        let waits = match grouped.group.approval {
            Approval::Automatic => false,
            Approval::Manual => true,
            // A message signed with some certificate of ours is no renewal yet: only one whose certificate was the proof is.
            Approval::ManualFirst => ordered.permitted.authenticated.proof.renews().is_none(),
        };
        if !waits {
            return Ok(Flow::Continue(Approved { ordered }));
        }
        // The order is stored as it is: an approval next week issues what was asked for today.
        let new = issue::new_transaction(&self.0, &ordered, None)?;
        let id = new.transaction.id;
        Ok(Flow::Stop(match self.0.inventory.open(new).await? {
            Opened::Created => issue::pending(id),
            Opened::Existing(transaction) => issue::pending(transaction.id),
            Opened::ChallengeSpent => {
                Outcome::Refused(Rejection::new(RejectionCode::ChallengeSpent, "the challenge was used meanwhile"))
            }
            Opened::LimitReached => Outcome::Refused(Rejection::new(RejectionCode::LimitReached, "the device has had its share")),
        }))
    }
}
