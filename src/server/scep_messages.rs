//! Opens SCEP messages for `explain`, as the SCEP service would.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::admin::OpenMessage;
use crate::enroll::{Enroller, EnrollmentRequest, Peer};
use crate::policy::Endpoint;
use crate::scep::service::open_request;
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
        let now = self.enroller.now();
        let message = Bytes::from(message);
        let opened = self.enroller.pool().run(move || open_request(&message, snapshot, endpoint, peer, now)).await;
        opened.map_err(|error| error.to_string())?
    }
}
