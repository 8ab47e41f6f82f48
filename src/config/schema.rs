//! Every key of every file: what is read, and what the configuration reference is made of.

/// A table of a file.
#[derive(Debug)]
pub struct TableSchema {
    /// Its name as reports and the reference show it: `server`, `enforce.san`; empty for the top of a file.
    pub name: &'static str,
    /// Whether it is an array of tables.
    pub repeated: bool,
    /// What it is for.
    pub doc: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// Further keys, which several tables have.
    pub shared: &'static [&'static [Key]],
}

/// A key of a table.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value is.
    pub kind: &'static str,
    /// What holds where it is missing; empty where it must be there.
    pub default: &'static str,
    /// What it means.
    pub doc: &'static str,
}

impl TableSchema {
    /// All keys: its own first.
    pub fn all_keys(&self) -> impl Iterator<Item = &'static Key> + Clone {
        self.keys.iter().chain(self.shared.iter().copied().flatten())
    }

    /// How messages call it.
    pub fn shown(&self) -> String {
        match (self.name, self.repeated) {
            ("", _) => "the file".into(),
            (name, true) => format!("`[[{name}]]`"),
            (name, false) => format!("`[{name}]`"),
        }
    }
}

pub(super) const fn key(name: &'static str, kind: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key { name, kind, default, doc }
}

const fn table(name: &'static str, doc: &'static str, keys: &'static [Key]) -> TableSchema {
    TableSchema { name, repeated: false, doc, keys, shared: &[] }
}

/// The tables of `ravelin.toml` in the order of the reference.
pub static SERVER_FILE: &[&TableSchema] =
    &[&ROOT, &SERVER, &TLS, &LIMITS, &WORKER, &CRYPTO, &LOG, &RA, &KEYS, &UPSTREAM, &ENDPOINT];

/// The tables of `ravelin.toml` that depend on the kind of an upstream.
pub use super::upstream::schema::UPSTREAMS;

/// The tables of `policies/NAME.toml`.
pub static GROUP_FILE: &[&TableSchema] = &[
    &GROUP,
    &ROLLOUT,
    &RING,
    &GATES,
    &RETURNS,
    &DEADLINE,
    &EXCEPTION,
    &FALLBACK,
    &SHADOW,
    &DEVICE,
    &SCEP,
    &AUTHENTICATE,
    &CHALLENGE,
    &RENEWAL,
    &ENFORCE,
    &SUBJECT,
    &SAN,
    &USAGES,
    &KEY_USAGE,
    &GROUP_LIMITS,
    &MATCH,
];

/// The tables of `algorithms/NAME.toml`.
pub static PROFILE_FILE: &[&TableSchema] = &[&PROFILE, &ISSUER, &FAILOVER, &ALTERNATIVE_ISSUER, &EXTENSIONS];

pub static ROOT: TableSchema = table(
    "",
    "Keys at the top of the file, before the first table.",
    &[
        key("version", "integer", "`1`", "The version of the format. There is only 1 so far."),
        key(
            "data",
            "path",
            "`.`",
            "The folder for keys, the inventory and the control socket, relative to the folder of `ravelin.toml`.",
        ),
        key(
            "default-endpoint",
            "string",
            "none",
            "The endpoint that takes `/cgi-bin/pkiclient.exe` and unknown paths: a group's name, or that of an `[[endpoint]]`.",
        ),
        key("server", "table", "", "Listeners and times."),
        key("limits", "table", "", "What clients may take."),
        key("worker", "table", "", "Threads."),
        key("crypto", "table", "", "Which cryptography libraries are used."),
        key("log", "table", "", "Logs."),
        key("ra", "table, or array of tables", "", "The RA's own keys and certificates."),
        key("keys", "table", "", "How private keys are kept."),
        key("upstream", "array of tables", "one local CA folder", "The CAs behind."),
        key("endpoint", "array of tables", "none", "Endpoints that several groups share."),
    ],
);

pub static SERVER: TableSchema = table(
    "server",
    "Listeners and times.",
    &[
        key("node", "string", "the host's name", "Name of this node in leases and logs."),
        key(
            "listen",
            "addresses",
            "`[\"127.0.0.1:8080\"]`",
            "Plain HTTP listeners for devices. SCEP protects its own messages; devices seldom speak TLS.",
        ),
        key("listen-tls", "addresses", "none", "HTTPS listeners for devices; they need `tls`."),
        key("tls", "table", "none", "Certificate and key of the HTTPS listeners."),
        key(
            "public-url",
            "URL",
            "the first of `listen`, such as `http://127.0.0.1:8080`",
            "How others reach this server. The certificates of an embedded CA say that its CRL is at `URL/crl/UPSTREAM/CA/KEY.crl`; each CA keeps what was set when it was made in its `ca.toml`.",
        ),
        key("admin", "address", "`127.0.0.1:8081`", "Health and metrics; `off` for none."),
        key("control-socket", "path", "`control.sock`", "The socket for commands, relative to `data`."),
        key("patience", "duration", "`10s`", "How long a request waits for its issuer before the answer is PENDING."),
        key(
            "shutdown-grace",
            "duration",
            "`30s`",
            "How long requests may go on after a signal to stop. Orders that are at a CA then are heard to their end, if its answer may take longer.",
        ),
        key("retention", "duration", "`30d`", "How long refused transactions, spent challenges and replies are kept."),
        key(
            "keep-transactions",
            "duration",
            "`180d`",
            "How long transactions that were issued or failed are kept, with their requests and orders. Certificates and the audit log stay. A message that comes again after that, or after its reply is gone, is a new one: a one-time challenge stays spent.",
        ),
        key("watch", "boolean", "`true`", "Whether changed files are loaded without being told."),
    ],
);

pub static TLS: TableSchema = table(
    "server.tls",
    "Certificate and key of the HTTPS listeners; read again when they change.",
    &[key("certificate", "path", "", "Certificate chain, PEM."), key("key", "path", "", "Private key, PEM.")],
);

pub static LIMITS: TableSchema = table(
    "limits",
    "What clients may take. Whoever takes more is turned away at once.",
    &[
        key("max-connections", "integer", "`1024`", "Connections at a time."),
        key("max-requests", "integer", "`256`", "Requests under way at a time."),
        key("per-source", "integer", "none", "Requests per second from one source address."),
        key("per-source-burst", "integer", "twice `per-source`", "Requests at once from one source address."),
        key("max-body", "size", "`128KiB`", "Largest request body and target."),
        key("header-timeout", "duration", "`10s`", "How long a client may take to send its request head."),
        key("body-timeout", "duration", "`20s`", "How long a client may take to send its request body."),
        key("idle-timeout", "duration", "`60s`", "How long an idle connection stays open."),
    ],
);

pub static WORKER: TableSchema = table(
    "worker",
    "Threads for cryptography, which never runs on the threads that serve connections.",
    &[
        key("crypto-threads", "integer", "number of cores", "Threads for cryptography."),
        key("crypto-queue", "integer", "`256`", "Jobs that may wait for them; one more is turned away."),
        key(
            "slow-threads",
            "integer",
            "half the cores",
            "Further threads, of lower priority, for signatures that take from 10 ms to a second: SLH-DSA.",
        ),
        key("slow-queue", "integer", "`32`", "Such signatures that may wait for them; one more is tried again a little later."),
    ],
);

pub static CRYPTO: TableSchema = table(
    "crypto",
    "Which cryptography libraries are used; [Cryptography backends](backends.md) compares them. It takes effect at the next start. RSA, ECDSA, Ed25519 and all encryption are `aws-lc`'s.",
    &[
        key(
            "ml-dsa",
            "`aws-lc`, `rustcrypto` or `liboqs`",
            "`aws-lc`",
            "ML-DSA, and that half of composites. `liboqs` needs a build with the feature `oqs`.",
        ),
        key("slh-dsa", "`rustcrypto`", "`rustcrypto`", "SLH-DSA."),
    ],
);

pub static LOG: TableSchema = table(
    "log",
    "Logs, written to standard error.",
    &[
        key("format", "`auto`, `text` or `json`", "`auto`", "`auto` is text on a terminal and JSON elsewhere."),
        key("filter", "string", "`info`", "Filter directives, such as `info,ravelin::scep=debug`."),
    ],
);

pub static RA: TableSchema = table(
    "ra",
    "The RA's own keys and certificates on the SCEP transport. Written as `[[ra]]`, there can be further ones beside those that every endpoint has, for endpoints that name them; `ravelin ra --ra NAME create` makes their keys.",
    &[
        key("name", "string", "`default`", "What `[scep]` of an endpoint calls them; `default` is what all others have."),
        key("dir", "path", "`ra`, or `ra-NAME`", "Their folder, relative to `data`."),
    ],
);

pub static KEYS: TableSchema = table(
    "keys",
    "How private keys are kept: PKCS#8, encrypted with a passphrase.",
    &[key("passphrase-file", "path", "`secrets/key-passphrase`", "File with the passphrase, relative to `data`.")],
);

pub static UPSTREAM: TableSchema = TableSchema {
    name: "upstream",
    repeated: true,
    doc: "A CA behind. Without any there is one: `local`, of kind `local`, in the folder `ca`.",
    keys: &[
        key("name", "string", "", "What algorithm profiles call it."),
        key("kind", "`local`, or one of those below", "", "`local` is the embedded CA."),
        key("dir", "path", "`ca`", "For `local`: the folder with one folder per CA, relative to `data`."),
    ],
    shared: &[],
};

pub static ENDPOINT: TableSchema = TableSchema {
    name: "endpoint",
    repeated: true,
    doc: "An endpoint that several groups share. Every group has one of its own beside, at `/scep/NAME`.",
    keys: &[
        key("name", "string", "", "Its name; no group may have the same."),
        key("path", "string", "`/scep/NAME`", "Its path. Anything may follow it, such as `/pkiclient.exe`."),
        key("hosts", "strings", "any", "Host names that it answers to."),
        key("sources", "networks", "any", "Networks that it answers, such as `10.0.0.0/8`."),
        key("groups", "strings", "", "The groups to choose from. Of those that match, the one with the highest `priority` wins."),
        key("scep", "table", "as in a policy", "How it speaks SCEP: the keys of `[scep]` in a policy."),
    ],
    shared: &[],
};

pub static GROUP: TableSchema = table(
    "",
    "Keys at the top of the file.",
    &[
        key("description", "string", "none", "One sentence for people."),
        key("priority", "integer", "`0`", "Among the groups of a shared endpoint, the highest that matches wins."),
        key("profile", "string", "", "The algorithm profile: the one line that changes in a migration."),
        key("rollout", "table", "none", "Another profile that is tried on some devices first."),
        key("shadow", "table", "none", "Another profile that live requests are tried under, without anything coming of it."),
        key("deadline", "table", "none", "The day from which on nothing is signed classically alone."),
        key("fallback", "table", "", "When a device gets the fallback of its profile because it cannot digest that."),
        key("device", "table", "", "What tells a device."),
        key("scep", "table", "", "How the endpoint `/scep/NAME` speaks SCEP."),
        key("authenticate", "table", "", "Who is let in. Without it nobody is."),
        key("enforce", "table", "", "What may stand in a certificate."),
        key("limits", "table", "", "How much a device may have."),
        key("match", "table", "", "Which requests at a shared endpoint are of this group."),
    ],
);

pub static ROLLOUT: TableSchema = table(
    "rollout",
    "Another profile, the candidate, that is tried on some devices first; all others get `profile`. A device that is reached by any of these gets it. See [Moving a group](migration.md).",
    &[
        key("candidate", "string", "", "The algorithm profile that is tried."),
        key(
            "devices",
            "devices",
            "none",
            "Devices that get it, by the identifier that `[device]` gives them: `serialNumber=FOC1234`. `*` stands for any text.",
        ),
        key(
            "percent",
            "percentage",
            "`0`",
            "How many of all devices get it: `5`, `\"0.5\"`. They are the same ones each time, and a larger percentage only adds to them. A request that nothing tells the device of is never among them.",
        ),
        key("rings", "array of tables", "none", "What is added on certain dates, in their order."),
        key("gates", "table", "as below", "When to stop."),
    ],
);

pub static RING: TableSchema = TableSchema {
    name: "rollout.rings",
    repeated: true,
    doc: "What is added on a date.",
    keys: &[
        key("from", "date", "", "From then on: `\"2027-01-10\"` (0:00 UTC), or `\"2027-01-10T06:00:00Z\"`."),
        key("percent", "percentage", "as before", "How many of all devices get the candidate; no less than before."),
        key("devices", "devices", "none", "Devices that get it besides."),
    ],
    shared: &[],
};

pub static GATES: TableSchema = table(
    "rollout.gates",
    "When to stop: the devices under the candidate are compared with those under `profile`, in the same time. `\"+5%\"` is five percentage points more than those; if there are fewer than `min-devices` of those, they count as faultless. `\"5%\"` compares with nobody, `\"off\"` is no gate. Devices are counted, not requests.",
    &[
        key("window", "duration", "`24h`", "How far back they look."),
        key("min-devices", "integer", "`20`", "How many devices the candidate must have met before a gate trips."),
        key(
            "refusals",
            "threshold",
            "`+5%`",
            "Devices that were let in and then refused: by a rule of the group, or because of their key.",
        ),
        key("upstream-errors", "threshold", "`+2%`", "Devices whose request the issuer refused, or could not answer."),
        key(
            "returns",
            "table, or threshold",
            "as below",
            "Devices that come back for another certificate soon after they were given one.",
        ),
        key(
            "on-trip",
            "`halt` or `roll-back`",
            "`halt`",
            "`halt`: devices that have a certificate of the candidate stay with it, and no other gets one. `roll-back`: all get `profile` again.",
        ),
    ],
);

pub static RETURNS: TableSchema = table(
    "rollout.gates.returns",
    "Devices that come back. A certificate that is past half of its life is renewed, which is no return.",
    &[key("within", "duration", "`24h`", "How soon counts."), key("more-than", "threshold", "`+5%`", "How many are too many.")],
);

pub static DEADLINE: TableSchema = table(
    "deadline",
    "The day from which on this group gets no signature that is classical only. Profiles whose signature, alternative signature or sibling is post-quantum are not touched. See [Moving a group](migration.md#deadlines).",
    &[
        key("from", "date", "", "From then on: `\"2028-01-01\"` (0:00 UTC), or `\"2028-01-01T06:00:00Z\"`."),
        key("exceptions", "array of tables", "", "Devices that may be late."),
    ],
);

pub static EXCEPTION: TableSchema = TableSchema {
    name: "deadline.exceptions",
    repeated: true,
    doc: "Devices that may be late. Of several exceptions for a device the one that ends last counts.",
    keys: &[
        key("devices", "devices", "", "Which, by the identifier that `[device]` gives them. `*` stands for any text."),
        key("until", "date", "", "Until when: `\"2028-06-30\"` is the end of that day (UTC)."),
        key("why", "string", "", "Why; the audit log says so with each certificate."),
    ],
    shared: &[],
};

pub static FALLBACK: TableSchema = table(
    "fallback",
    "When a device gets the `fallback` of its profile because it cannot digest that: it was let in, and has shown so. A device that then signs with a certificate of that profile has shown the contrary. Replies over the budget of a profile fall back whatever stands here. See [Moving a group](migration.md#fallback).",
    &[
        key(
            "learn",
            "boolean",
            "`true`",
            "Whether it is learned at all. `false` leaves out of account what was learned before, too.",
        ),
        key("returns", "integer", "`2`", "How many certificates of the profile a device must have been given in vain."),
        key(
            "within",
            "duration",
            "`24h`",
            "Within which time. A certificate that is past half of its life is renewed, which shows nothing; a device that renews an older certificate than it was given shows it whenever it comes.",
        ),
    ],
);

pub static SHADOW: TableSchema = table(
    "shadow",
    "Another profile that every live request of the group is tried under once it has its answer: policy, sizes, and a signature by a throwaway key. No issuer is asked, and no device notices. See [Moving a group](migration.md#in-the-shadow).",
    &[key("candidate", "string", "", "The algorithm profile that is tried.")],
);

pub static DEVICE: TableSchema = table(
    "device",
    "What tells a device: limits, renewal and reports go by it.",
    &[key(
        "id",
        "selectors",
        "`[\"subject.serialNumber\", \"subject.commonName\", \"san.dns\"]`",
        "The first that has a value in the certificate wins. A request without any is refused. Selectors are `subject.ATTRIBUTE`, `san.dns`, `san.ip`, `san.uri` and `san.email`.",
    )],
);

pub static SCEP: TableSchema = table(
    "scep",
    "How the endpoint speaks SCEP. Every leniency has to be named here.",
    &[
        key(
            "accept-ciphers",
            "names",
            "`[\"aes-128-cbc\", \"aes-192-cbc\", \"aes-256-cbc\", \"aes-128-gcm\", \"aes-256-gcm\"]`",
            "Content ciphers of requests. `des-ede3-cbc` and `des-cbc` are legacy: they are logged.",
        ),
        key(
            "accept-digests",
            "names",
            "`[\"sha-256\", \"sha-384\", \"sha-512\"]`",
            "Digests of messages and CSRs. `sha-1` and `md5` are legacy: they are logged.",
        ),
        key("accept-oaep", "boolean", "`true`", "Whether RSAES-OAEP key transport is taken beside PKCS#1 v1.5."),
        key("ca-certs", "`ra-pair+ca`, `ra-pair+chain`, `ra-pair` or `ca`", "`ra-pair+chain`", "What GetCACert brings."),
        key("reply-certs", "`leaf`, `leaf+ca`, `leaf+chain` or `leaf+chain+root`", "`leaf`", "What a SUCCESS reply brings."),
        key("reply-includes-signer", "boolean", "`true`", "Whether replies carry the RA's signing certificate."),
        key("max-message", "size", "`64KiB`", "Largest message."),
        key("ra", "string", "`default`", "Whose keys open requests and sign replies: the name of an `[[ra]]` in `ravelin.toml`."),
    ],
);

pub static AUTHENTICATE: TableSchema = table(
    "authenticate",
    "Who is let in. A group without a challenge and without renewal lets nobody in.",
    &[
        key("challenge", "table, or array of tables", "none", "Ways in by challenge."),
        key(
            "allow-challenge-upstream",
            "boolean",
            "`false`",
            "Whether a CA that is sent the CSR as it is may see a challenge that the devices of this group share. It is the password of them all.",
        ),
        key("renewal", "table", "none", "The way in by an existing certificate."),
        key(
            "signer-key",
            "`same` or `may-differ`",
            "`same`",
            "Whether a first request has to be signed by the key that is to be certified. `may-differ` lets a device sign with a transport key of its own, such as an RSA key around a request for an ML-DSA key. A renewal is signed by the certificate that it renews.",
        ),
    ],
);

pub static CHALLENGE: TableSchema = table(
    "authenticate.challenge",
    "One way in by challenge.",
    &[
        key(
            "kind",
            "`one-time` or `shared`",
            "",
            "`one-time` challenges are made with `ravelin challenge new` and redeemed once; `shared` is one password for the whole group.",
        ),
        key("ttl", "duration", "`24h`", "For `one-time`: how long a new one can be redeemed."),
        key(
            "bind",
            "selectors",
            "none",
            "For `one-time`: what is fixed when the challenge is made, such as `subject.serialNumber`.",
        ),
        key(
            "hash-file",
            "path",
            "none",
            "For `shared`: file with the Argon2id hash of the password, made with `ravelin hash-challenge`. Choose at least 16 random characters: whoever sees one device sees the password.",
        ),
        key("hash", "string", "none", "For `shared`: the hash itself. A file is better."),
    ],
);

pub static RENEWAL: TableSchema = table(
    "authenticate.renewal",
    "The way in by an existing certificate: its key signs the request.",
    &[
        key(
            "issuers",
            "strings",
            "`[\"own\"]`",
            "Whose certificates count: `own` is those of this Ravelin; anything else is a PEM file with the certificate of an earlier CA.",
        ),
        key("window", "duration", "any time", "How long before its end a certificate can be renewed."),
        key("grace", "duration", "`0s`", "How long after its end it still can be."),
        key("allow-name-change", "boolean", "`false`", "Whether subject and alternative names may change."),
        key("allow-same-key", "boolean", "`true`", "Whether the key may stay the same."),
    ],
);

pub static ENFORCE: TableSchema = table(
    "enforce",
    "What may stand in a certificate. Extensions other than those named here are never taken over from a request, and no device gets a CA.",
    &[
        key(
            "keys",
            "key rules",
            "what the profile accepts",
            "Subject keys, narrower than the profile: `rsa-2048..4096`, `ecdsa-p256`.",
        ),
        key("subject", "table", "any", "Subjects."),
        key("san", "table", "none allowed", "Subject alternative names."),
        key(
            "usages",
            "array, or table",
            "`[\"clientAuth\"]`",
            "Extended key usages: as an array, those that are allowed, and what a request gets that asks for none.",
        ),
        key(
            "key-usage",
            "array, or table",
            "`[\"digitalSignature\", \"keyEncipherment\"]`",
            "Key usages. What does not fit the kind of key is always left out (RFC 9881 section 5).",
        ),
        key(
            "approval",
            "`automatic`, `manual` or `manual-first`",
            "`automatic`",
            "Whether people decide: never, always, or unless it is a renewal.",
        ),
        key(
            "allow-shared-keys",
            "boolean",
            "`false`",
            "Whether a key is let through that another device has a valid certificate for.",
        ),
    ],
);

pub static SUBJECT: TableSchema = table(
    "enforce.subject",
    "Subjects. In patterns `{name:regex}` takes what the expression matches; `{name}` takes any 1 to 64 characters; `*` as a piece of its own lets attributes of other types through. The order of attributes does not count.",
    &[
        key(
            "allow",
            "pattern, or array of patterns",
            "any subject",
            "Subjects that are let through, such as `CN={name:[a-z0-9-]{1,32}},O=Example`.",
        ),
        key(
            "set",
            "template",
            "none",
            "The subject to issue instead, such as `CN={name},O=Example`; `{subject.serialNumber}` takes from the request. The issuer has to be able to.",
        ),
    ],
);

pub static SAN: TableSchema = table(
    "enforce.san",
    "Subject alternative names. Patterns may use what the subject pattern took, as in `{name}.example.net`.",
    &[
        key("dns", "patterns", "none", "DNS names; letter case does not count."),
        key("ip", "networks", "none", "IP addresses, such as `10.0.0.0/8`."),
        key(
            "uri",
            "patterns",
            "none",
            "URIs, such as the strong mapping of Intune: `tag:microsoft.com,2022-09-14:sid:{sid:S-1-[0-9-]{1,180}}`.",
        ),
        key("email", "patterns", "none", "Mail addresses."),
        key("other", "`allow`, `unlisted` or `refuse`", "`unlisted`", "Names of all other kinds (otherName, directoryName, …)."),
        key("unlisted", "`refuse` or `drop`", "`refuse`", "What happens to names that are not listed."),
        key("add", "templates", "none", "Names that every certificate gets, with their kind: `dns:{name}.example.net`."),
    ],
);

pub static USAGES: TableSchema = table(
    "enforce.usages",
    "Extended key usages, by the names of RFC 5280 or as dotted OIDs.",
    &[
        key("allow", "names", "`[\"clientAuth\"]`", "What is let through."),
        key("default", "names", "as `allow`", "What a request gets that asks for none."),
        key("unlisted", "`refuse` or `drop`", "`refuse`", "What happens to others."),
    ],
);

pub static KEY_USAGE: TableSchema = table(
    "enforce.key-usage",
    "Key usages, by the names of RFC 5280.",
    &[
        key(
            "allow",
            "names",
            "`[\"digitalSignature\", \"keyEncipherment\"]`",
            "What is let through; a request that asks for none gets these.",
        ),
        key("unlisted", "`refuse` or `drop`", "`drop`", "What happens to others."),
    ],
);

pub static GROUP_LIMITS: TableSchema = table(
    "limits",
    "How much a device may have.",
    &[
        key("per-device", "limit", "none", "At most so many certificates for one device in a period: `3/day`, `10/30d`."),
        key(
            "replay",
            "duration",
            "`24h`",
            "How long a finished transaction answers a new message of the same client with the same certificate.",
        ),
    ],
);

pub static MATCH: TableSchema = table(
    "match",
    "Which requests at a shared endpoint are of this group. A one-time challenge or a certificate of a group decides by itself; all that is said here has to fit.",
    &[
        key("subject", "pattern, or array of patterns", "any", "The subject fits one of these."),
        key("keys", "key rules", "any", "The key is one of these."),
        key("sources", "networks", "any", "The request came from one of these. This holds at the group's own endpoint as well."),
        key("challenge", "boolean", "`false`", "The challenge is the group's shared one."),
    ],
);

pub static PROFILE: TableSchema = table(
    "",
    "Keys of the file.",
    &[
        key("description", "string", "none", "One sentence for people."),
        key(
            "accepts",
            "key rules",
            "",
            "Subject keys that are let through: `rsa-2048..4096`, `ecdsa-p256`, `ml-dsa-*`. The key is the device's; no profile can change it.",
        ),
        key(
            "form",
            "`single`, `composite`, `catalyst` or `paired`",
            "`single`",
            "In which form the signature stands in the certificate. `single` is one signature by one algorithm; `composite` is one signature that is ML-DSA and a classical one in one; `catalyst` is a classical signature with an alternative one in extensions that old devices pass over; `paired` is two certificates for the same key, the classical one for the device and a sibling in the inventory.",
        ),
        key(
            "signature",
            "name",
            "",
            "What signs, such as `ecdsa-sha256`, `ml-dsa-65`, `slh-dsa-sha2-128s` or `mldsa65-ecdsa-p256-sha512`. `rsa`, `rsa-pss` and `ecdsa` leave the digest to `digest`. In the forms `catalyst` and `paired` it is the classical signature.",
        ),
        key("digest", "name", "that in the name of `signature`", "The digest of a signature by RSA or ECDSA, such as `sha-384`."),
        key("issuer", "table", "", "Who signs."),
        key(
            "failover",
            "array of tables",
            "none",
            "Who signs instead, in this order, where the one before surely did not take an order: it cannot be reached, or is left alone after failures. Each has to be able to do all that the issuer has to.",
        ),
        key("spread", "boolean", "`false`", "Whether orders are spread evenly over the issuer and those in `failover`."),
        key(
            "alternative",
            "name",
            "none",
            "The second signature, which no quantum computer forges. For `catalyst`: ML-DSA or SLH-DSA, by the alternative key of the same CA. For `paired`: what signs the sibling.",
        ),
        key("alternative-issuer", "table", "none", "For `paired`: who signs the sibling."),
        key(
            "fallback",
            "string",
            "none",
            "The profile for a device that this one is too much for. A ladder of fallbacks must not lead back to its start.",
        ),
        key(
            "key-usage",
            "`trim` or `refuse`",
            "`trim`",
            "What happens to key usages that the key cannot have, such as keyEncipherment of a key that only signs (RFC 9881 section 5, RFC 9909). Most SCEP clients ask for it whatever key they have.",
        ),
        key("validity", "duration", "`1y`", "How long a certificate is valid."),
        key("max-reply", "size", "no limit", "The largest reply that a device of this profile is given."),
        key("extensions", "table", "none", "What else stands in the certificate."),
    ],
);

pub static ISSUER: TableSchema = table(
    "issuer",
    "Who signs. With every CA but an RSA one, choosing the algorithm is choosing the issuer.",
    &[key("upstream", "string", "", "Name of the `[[upstream]]`."), key("ca", "string", "", "The CA at that upstream.")],
);

pub static FAILOVER: TableSchema = table(
    "failover",
    "Who signs in the place of the issuer.",
    &[key("upstream", "string", "", "Name of the `[[upstream]]`."), key("ca", "string", "", "The CA at that upstream.")],
);

pub static ALTERNATIVE_ISSUER: TableSchema = table(
    "alternative-issuer",
    "Who signs the sibling of a pair.",
    &[key("upstream", "string", "", "Name of the `[[upstream]]`."), key("ca", "string", "", "The CA at that upstream.")],
);

pub static EXTENSIONS: TableSchema = table(
    "extensions",
    "What else stands in the certificate; the issuer has to be able to. Key usages and extended key usages are a matter of the group. The sibling of a pair gets the policies alone, since the rest tells where to find things of the first issuer.",
    &[
        key("policies", "OIDs", "none", "Certificate policies, such as `1.3.6.1.4.1.99999.1.1`."),
        key(
            "crl-urls",
            "URLs",
            "what the CA says",
            "Where the CRL is, instead of what the CA says itself; `{key}` is the name of the key that signs.",
        ),
        key("ca-issuers", "URLs", "none", "Where the certificate of the issuer is (authorityInfoAccess)."),
        key("ocsp", "URLs", "none", "Where an OCSP responder answers (authorityInfoAccess)."),
    ],
);
