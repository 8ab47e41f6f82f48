//! What holds between files: names that refer to others, ladders of fallbacks, groups that a request can both fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::diagnostic::{self, Diagnostic};
use super::loader::Loader;
use super::{EndpointSettings, server_file, value};
use crate::algorithm::AlgorithmProfile;
use crate::policy::{DeviceGroup, ScepSettings};

impl Loader {
    /// Checks names that refer to other files.
    pub(super) fn cross_check(
        &self,
        file: &server_file::ServerFile,
        groups: &[(Arc<DeviceGroup>, ScepSettings)],
        profiles: &[Arc<AlgorithmProfile>],
    ) {
        // A broken file has no entry here, and what refers to it is not wrong for that.
        let exists = |folder: &str, name: &str| self.folder.join(folder).join(format!("{name}.toml")).exists();
        let unknown = |what: &str, name: &str, known: Vec<&str>, path: String| {
            let finding = Diagnostic::error("unknown-name", format!("there is no {what} `{name}`"));
            self.report(self.origins.point(finding.help(diagnostic::suggestion(name, known)), &[path]));
        };
        let group_names: Vec<&str> = groups.iter().map(|(group, _)| group.name.as_str()).collect();
        for (group, _) in groups {
            let candidate = group.rollout.as_ref().map(|plan| (plan.candidate.as_str(), "rollout.candidate"));
            let shadow = group.shadow.as_deref().map(|candidate| (candidate, "shadow.candidate"));
            for (name, key) in [Some((group.profile.as_str(), "profile")), candidate, shadow].into_iter().flatten() {
                let known = profiles.iter().any(|profile| profile.name == name);
                if !known && !exists("algorithms", name) {
                    let names = profiles.iter().map(|profile| profile.name.as_str()).collect();
                    unknown("algorithm profile", name, names, format!("group/{}/{key}", group.name));
                }
            }
        }
        for profile in profiles {
            let used = groups.iter().any(|(group, _)| group.named_profiles().any(|name| name == profile.name));
            let own = profile.keyed_issuers();
            let sibling = profile.alternative_issuer.iter().map(|issuer| ("alternative-issuer".to_owned(), issuer));
            for (key, issuer) in own.chain(sibling) {
                if used && !file.upstreams.iter().any(|upstream| upstream.name == issuer.upstream) {
                    let names = file.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
                    unknown("upstream", &issuer.upstream, names, format!("profile/{}/{key}.upstream", profile.name));
                }
            }
            let Some(fallback) = &profile.fallback else { continue };
            let at = format!("profile/{}/fallback", profile.name);
            match profiles.iter().find(|known| known.name == *fallback) {
                Some(next) => self.check_fallback(profile, next, profiles),
                None if exists("algorithms", fallback) => {}
                None => {
                    let names = profiles.iter().map(|profile| profile.name.as_str()).filter(|name| *name != profile.name);
                    unknown("algorithm profile", fallback, names.collect(), at);
                }
            }
        }
        for (group, _) in groups {
            for profile in profiles.iter().filter(|profile| group.profiles().any(|name| name == profile.name)) {
                self.check_key_usage(group, profile);
            }
        }
        let own = groups.iter().map(|(group, scep)| (format!("group/{}/scep.ra", group.name), scep));
        let shared = file.endpoints.iter().map(|endpoint| (format!("endpoint/{}/scep.ra", endpoint.name), &endpoint.scep));
        for (at, scep) in own.chain(shared) {
            if let Some(name) = &scep.ra
                && !file.ras.iter().any(|ra| ra.name == *name)
            {
                let names = file.ras.iter().map(|ra| ra.name.as_str()).chain([server_file::DEFAULT_RA]).collect();
                unknown("RA", name, names, at);
            }
        }
        for (group, _) in groups {
            let Some(plan) = group.rollout.as_ref().filter(|plan| plan.gates.window > file.server.retention) else { continue };
            let (window, retention) = (value::show_duration(plan.gates.window), value::show_duration(file.server.retention));
            let message = format!("gates look back {window}, but refusals are kept for {retention} only");
            let paths = ["rollout.gates.window", "rollout.candidate"].map(|key| format!("group/{}/{key}", group.name));
            let finding =
                Diagnostic::warning("bad-value", message).help("raise `retention` in `[server]`, or make `window` shorter");
            self.report(self.origins.point(finding, &paths));
        }
        let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
        for endpoint in &file.endpoints {
            let at = |key: &str| format!("endpoint/{}/{key}", endpoint.name);
            if group_names.contains(&endpoint.name.as_str()) || taken.contains_key(endpoint.name.as_str()) {
                let message = format!("there is another endpoint `{}`", endpoint.name);
                let help = "every group has an endpoint of its own name";
                self.report(self.origins.point(Diagnostic::error("duplicate-name", message).help(help), &[at("name")]));
            }
            if groups.iter().any(|(group, _)| format!("/scep/{}", group.name) == endpoint.path)
                || taken.values().any(|path| *path == endpoint.path)
            {
                let message = format!("there is another endpoint at {}", endpoint.path);
                self.report(self.origins.point(Diagnostic::error("duplicate-name", message), &[at("path"), at("name")]));
            }
            taken.insert(&endpoint.name, &endpoint.path);
            for group in
                endpoint.groups.iter().filter(|group| !group_names.contains(&group.as_str()) && !exists("policies", group))
            {
                unknown("device group", group, group_names.clone(), at(&format!("groups/{group}")));
            }
            self.check_ties(endpoint, groups);
        }
        if let Some(name) = &file.default_endpoint
            && !group_names.contains(&name.as_str())
            && !taken.contains_key(name.as_str())
            && !exists("policies", name)
        {
            let known = group_names.iter().copied().chain(taken.keys().copied()).collect();
            unknown("endpoint", name, known, "default-endpoint".into());
        }
        let largest =
            file.endpoints.iter().map(|e| &e.scep).chain(groups.iter().map(|(_, scep)| scep)).map(|scep| scep.max_message);
        if let Some(largest) = largest.max().filter(|largest| *largest > file.server.max_body) {
            let message =
                format!("`max-message` of {largest} octets is never reached: `max-body` is {} octets", file.server.max_body);
            self.report(Diagnostic::warning("bad-value", message).in_file("ravelin.toml").help("raise `max-body` in `[limits]`"));
        }
    }

    /// A ladder of fallbacks has an end, and a step of it is of some use.
    fn check_fallback(&self, profile: &AlgorithmProfile, next: &AlgorithmProfile, profiles: &[Arc<AlgorithmProfile>]) {
        let at = [format!("profile/{}/fallback", profile.name)];
        let mut ladder = vec![profile.name.as_str()];
        let mut step = Some(next);
        while let Some(here) = step {
            if here.name == profile.name {
                // Each loop once, where the first of its profiles names the next.
                if ladder.iter().all(|name| *name >= profile.name.as_str()) {
                    let message = format!("the fallbacks lead in a circle: {} → {}", ladder.join(" → "), profile.name);
                    let help = "the last step of a ladder has no `fallback`";
                    self.report(self.origins.point(Diagnostic::error("fallback-loop", message).help(help), &at));
                }
                return;
            }
            // A circle further down is told where it is.
            if ladder.contains(&here.name.as_str()) {
                return;
            }
            ladder.push(&here.name);
            step = here.fallback.as_ref().and_then(|name| profiles.iter().find(|known| known.name == *name)).map(Arc::as_ref);
        }
        let taken = |rule| next.accepts.iter().any(|other| crate::policy::matching::overlap(rule, other));
        if !profile.accepts.is_empty() && !profile.accepts.iter().any(taken) {
            let message = format!("fallback `{}` accepts none of the keys that this profile accepts", next.name);
            self.report(self.origins.point(Diagnostic::warning("never-fits", message), &at));
        }
    }

    /// A key usage that a policy lists is one that some key of its devices can have.
    fn check_key_usage(&self, group: &DeviceGroup, profile: &AlgorithmProfile) {
        use crate::policy::enforce::{KEY_USAGE_NAMES, fitting, usage_names};
        let rules = group.rules();
        let keys = profile.accepts.iter().flat_map(|rule| rule.bounds());
        let keys: Vec<_> = keys.filter(|key| rules.keys.is_empty() || rules.keys.iter().any(|rule| rule.admits(*key))).collect();
        let Some(can) = keys.iter().map(|key| fitting(*key)).reduce(crate::x509::KeyUsage::union) else { return };
        let listed = format!("group/{}/enforce.key-usage", group.name);
        let at = [listed.clone(), format!("group/{}/profile", group.name)];
        let of_keys = || {
            let names: Vec<_> = profile.accepts.iter().map(ToString::to_string).collect();
            format!("keys of {} can have {}", names.join(", "), usage_names(can))
        };
        let report = |message: String| {
            self.report(self.origins.point(Diagnostic::error("impossible-key-usage", message).help(of_keys()), &at));
        };
        if rules.key_usage.intersection(can).is_empty() {
            let usage = usage_names(rules.key_usage);
            report(format!(
                "group `{}` allows key usage {usage} alone, which no key under profile `{}` can have",
                group.name, profile.name
            ));
        } else if self.origins.all.contains_key(&listed) {
            for (name, _) in KEY_USAGE_NAMES.iter().filter(|(_, bit)| rules.key_usage.contains(*bit) && !can.contains(*bit)) {
                report(format!("no key under profile `{}` can have key usage {name}", profile.name));
            }
        }
    }

    /// Two groups of one endpoint that a request can both fit need different priorities.
    fn check_ties(&self, endpoint: &EndpointSettings, groups: &[(Arc<DeviceGroup>, ScepSettings)]) {
        let named = |name: &String| groups.iter().map(|(group, _)| group).find(|group| group.name == *name);
        let here: Vec<_> = endpoint.groups.iter().filter_map(named).collect();
        for (index, one) in here.iter().enumerate() {
            for other in &here[index + 1..] {
                if one.name == other.name {
                    let at = [format!("endpoint/{}/groups/{}", endpoint.name, other.name)];
                    let message = format!("group `{}` stands there twice", other.name);
                    self.report(self.origins.point(Diagnostic::error("duplicate-name", message), &at));
                } else if one.priority == other.priority && !one.matching().excludes(other.matching()) {
                    let message = format!(
                        "groups `{}` and `{}` of endpoint `{}` may both fit a request, and have the same priority {}",
                        one.name, other.name, endpoint.name, one.priority
                    );
                    let help = "give one of them a higher `priority`, or tell them apart in `[match]`";
                    let at =
                        [format!("group/{}/priority", other.name), format!("endpoint/{}/groups/{}", endpoint.name, other.name)];
                    self.report(self.origins.point(Diagnostic::error("tie", message).help(help), &at));
                }
            }
        }
    }
}
