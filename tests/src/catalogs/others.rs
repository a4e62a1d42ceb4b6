//! Configurations of other servers that make catalogs, or follow those of the daemon.

use std::fmt::Write as _;

use super::{CATALOG, Member, OURS, THEIRS};

/// What all configurations of knotd have; files of zones are in `folder`.
fn knotd(folder: &str) -> String {
    format!(
        "server:\n  listen: 127.0.0.1@{THEIRS}\n  rundir: {folder}\n  pidfile: {folder}/knotd.pid\n  \
         udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: {folder}/knotd\nlog:\n  - target: stderr\n    any: info\n\
         remote:\n  - id: sealdns\n    address: 127.0.0.1@{OURS}\n    via: 127.0.0.1\n\
         acl:\n  - id: all\n    address: 127.0.0.1\n    action: [transfer, notify]\n"
    )
}

/// knotd makes a catalog of these zones.
pub(super) fn knotd_produces(folder: &str, members: &[Member]) -> String {
    let mut config = knotd(folder);
    let _ = write!(
        config,
        "template:\n  - id: default\n    storage: {folder}\n    file: \"%s.zone\"\n    zonefile-sync: -1\n    \
         zonefile-load: whole\n    journal-content: changes\n    notify: sealdns\n    acl: all\n\
         zone:\n  - domain: {CATALOG}.\n    catalog-role: generate\n"
    );
    for (zone, group) in members {
        let _ = write!(
            config,
            "  - domain: {zone}.\n    catalog-role: member\n    catalog-zone: {CATALOG}.\n"
        );
        if let Some(group) = group {
            let _ = writeln!(config, "    catalog-group: {group}");
        }
    }
    config
}

/// knotd follows the daemon's catalog.
pub(super) fn knotd_consumes(folder: &str) -> String {
    let member = |id: &str| {
        format!(
            "  - id: {id}\n    storage: {folder}/knotd\n    master: sealdns\n    acl: all\n    zonefile-sync: -1\n    \
             zonefile-load: none\n    journal-content: all\n"
        )
    };
    format!(
        "{}template:\n{}{}zone:\n  - domain: {CATALOG}.\n    storage: {folder}/knotd\n    master: sealdns\n    \
         acl: all\n    catalog-role: interpret\n    catalog-template: [member, gold]\n",
        knotd(folder),
        member("member"),
        member("gold"),
    )
}

/// What all configurations of named have.
fn named(folder: &str, options: &str) -> String {
    format!(
        "options {{\n  directory \"{folder}\";\n  pid-file none;\n  session-keyfile none;\n  \
         listen-on port {THEIRS} {{ 127.0.0.1; }};\n  listen-on-v6 {{ none; }};\n  recursion no;\n  \
         empty-zones-enable no;\n  notify-delay 0;\n  notify-source 127.0.0.1;\n{options}}};\n\
         controls {{ }};\n"
    )
}

/// named has these zones from files, catalogs among them.
pub(super) fn named_produces(folder: &str, zones: &[&str]) -> String {
    let notify = format!(
        "  notify explicit;\n  also-notify {{ 127.0.0.1 port {OURS}; }};\n  allow-transfer {{ 127.0.0.1; }};\n"
    );
    let mut config = named(folder, &notify);
    for zone in zones {
        let _ = writeln!(
            config,
            "zone \"{zone}\" {{ type primary; file \"{zone}.zone\"; ixfr-from-differences yes; }};"
        );
    }
    config
}

/// named follows the daemon's catalog.
pub(super) fn named_consumes(folder: &str) -> String {
    let catalog = format!(
        "  notify no;\n  catalog-zones {{\n    zone \"{CATALOG}\" default-primaries {{ 127.0.0.1 port {OURS}; }} \
         in-memory yes min-update-interval 0;\n  }};\n"
    );
    let zone = format!(
        "zone \"{CATALOG}\" {{ type secondary; primaries {{ 127.0.0.1 port {OURS}; }}; \
         file \"cat.secondary\"; }};\n"
    );
    named(folder, &catalog) + &zone
}
