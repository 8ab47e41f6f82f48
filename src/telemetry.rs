//! Logs and metrics.

/// The product's metrics. Label values come from configuration, never from a device.
#[derive(Debug, Default)]
pub struct Metrics {}

impl Metrics {
    /// Counts an enrollment's answer. `outcome` is `issued`, `pending`, `replayed`, or `refused`.
    pub fn enrollment(&self, _protocol: &str, _group: &str, _profile: &str, _outcome: &str) {}

    /// Counts a refusal by its stable code.
    pub fn denial(&self, _group: &str, _code: &str) {}

    /// Records how long an upstream took.
    pub fn upstream(&self, _upstream: &str, _outcome: &str, _took: std::time::Duration) {}

    /// Counts a wire request: `operation` is one of the known operations or `unknown`, `status` the HTTP status.
    pub fn wire(&self, _endpoint: &str, _operation: &str, _status: u16) {}

    /// Counts a reload: `ok` or `failed`; sets the generation.
    pub fn reload(&self, _result: &str, _generation: u64) {}
}
