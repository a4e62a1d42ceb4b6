//! `sealdns zone`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::output::{
    CliError, CommandResult, Exit, Output, cell, list_cell, table, time_cell, word,
};
use super::{Global, PATIENCE, RELOAD_PATIENCE};
use crate::clock::WallTime;
use crate::control::protocol::{Failure, Request};
use crate::control::reply::zone::{
    CatalogStatus, Change, FrontStatus, NotifyStatus, PrimariesStatus, ServingState,
    VersionDifference, ZoneChange, ZoneDiff, ZoneEvent, ZoneHistory, ZoneList, ZoneRefreshing,
    ZoneReload, ZoneRolledBack, ZoneStatus, ZoneSummary,
};
use crate::daemon::prepare;
use crate::observe::event::EventReason;
use crate::zone::{Name, NameError};

/// What to do with zones.
#[derive(Subcommand, Debug)]
pub enum ZoneCommand {
    /// List the daemon's zones
    List,
    /// Show one zone of the daemon; if it is not up to date, why
    Status {
        /// The zone's name
        #[arg(value_name = "ZONE")]
        zone: String,
    },
    /// Load a zone again; without a name, read the configuration again and load the zones whose files changed
    Reload {
        /// The zone's name
        #[arg(value_name = "ZONE")]
        zone: Option<String>,
    },
    /// Ask the primaries of a zone for a newer version now
    Refresh {
        /// The zone's name
        #[arg(value_name = "ZONE")]
        zone: String,
    },
    /// Transfer all of a zone from a primary, whatever its serial
    Retransfer {
        /// The zone's name
        #[arg(value_name = "ZONE")]
        zone: String,
    },
    /// Show what changed in a zone: when, why, from which serial to which
    History {
        /// The zone's name
        #[arg(value_name = "ZONE")]
        zone: String,
    },
    /// Show the records that changed from one version of a zone to another: by default those of the last change
    Diff {
        /// The zone's name
        #[arg(value_name = "ZONE")]
        zone: String,
        /// The serial of the one version
        #[arg(value_name = "FROM")]
        from: Option<u32>,
        /// The serial of the other one [default: the one that is served]
        #[arg(value_name = "TO")]
        to: Option<u32>,
    },
    /// Serve the records of an earlier version again, under a new serial, until the zone's file changes
    Rollback {
        /// The zone's name
        #[arg(value_name = "ZONE")]
        zone: String,
        /// The serial of the version, as `zone history` lists it
        #[arg(value_name = "SERIAL")]
        serial: u32,
    },
    /// Check a zone file, and its signatures if it is signed (exit 3 if there are problems)
    Check {
        /// The zone file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The zone's name [default: the file's name without .zone, .db or .signed]
        #[arg(long, value_name = "NAME")]
        zone: Option<String>,
    },
}

/// Does it.
pub fn run(command: &ZoneCommand, global: &Global, output: &Output) -> CommandResult {
    match command {
        ZoneCommand::List => {
            let list: ZoneList = global.call(&Request::ZoneList, PATIENCE)?;
            output.data(&list, list_text);
            Ok(Exit::Ok)
        }
        ZoneCommand::Status { zone } => {
            let request = Request::ZoneStatus { zone: zone.clone() };
            let status: ZoneStatus = global.call(&request, PATIENCE)?;
            output.data(&status, status_text);
            Ok(Exit::Ok)
        }
        ZoneCommand::Reload { zone } => {
            let request = Request::ZoneReload { zone: zone.clone() };
            let reload: ZoneReload = global.call(&request, RELOAD_PATIENCE)?;
            output.data(&reload, reload_text);
            let failed = reload.zones.iter().any(|zone| zone.change == Change::Failed);
            Ok(if failed { Exit::Failed } else { Exit::Ok })
        }
        ZoneCommand::Refresh { zone } => refresh(zone, false, global, output),
        ZoneCommand::Retransfer { zone } => refresh(zone, true, global, output),
        ZoneCommand::History { zone } => {
            let request = Request::ZoneHistory { zone: zone.clone() };
            let history: ZoneHistory = global.call(&request, RELOAD_PATIENCE)?;
            output.data(&history, history_text);
            Ok(Exit::Ok)
        }
        ZoneCommand::Diff { zone, from, to } => {
            let request = Request::ZoneDiff { zone: zone.clone(), from: *from, to: *to };
            let diff: ZoneDiff = global.call(&request, RELOAD_PATIENCE)?;
            output.data(&diff, diff_text);
            Ok(Exit::Ok)
        }
        ZoneCommand::Rollback { zone, serial } => {
            let request = Request::ZoneRollback { zone: zone.clone(), serial: *serial };
            let rolled_back: ZoneRolledBack = global.call(&request, RELOAD_PATIENCE)?;
            output.data(&rolled_back, rollback_text);
            Ok(Exit::Ok)
        }
        ZoneCommand::Check { file, zone } => check(file, zone.as_deref(), output),
    }
}

fn refresh(zone: &str, whole: bool, global: &Global, output: &Output) -> CommandResult {
    let request = Request::ZoneRefresh { zone: zone.to_owned(), whole };
    let refreshing: ZoneRefreshing = global.call(&request, PATIENCE)?;
    output.data(&refreshing, |ZoneRefreshing { zone, .. }| {
        format!(
            "{zone}: its primaries are asked; `sealdns zone status {zone}` tells what came of it\n"
        )
    });
    Ok(Exit::Ok)
}

fn list_text(list: &ZoneList) -> String {
    let rows = list.zones.iter().map(|zone| {
        vec![
            zone.zone.clone(),
            word(&zone.state),
            word(&zone.dnssec),
            source_cell(zone),
            cell(zone.serial),
            time_cell(zone.expiration),
        ]
    });
    let shown = table(&["zone", "state", "dnssec", "from", "serial", "signatures expire"], rows);
    if shown.is_empty() {
        return "no zone is configured\n".into();
    }
    format!("{shown}{}", progress(&list.zones))
}

/// Where a zone comes from, and which catalog lists it.
fn source_cell(zone: &ZoneSummary) -> String {
    match &zone.catalog {
        Some(catalog) => format!("{}, catalog {catalog}", word(&zone.source)),
        None => word(&zone.source),
    }
}

/// How far loading is, while it is not done.
fn progress(zones: &[ZoneSummary]) -> String {
    let loading = zones.iter().filter(|zone| zone.state == ServingState::Loading).count();
    match loading {
        0 => String::new(),
        _ => format!("loading: {} of {} zones were tried\n", zones.len() - loading, zones.len()),
    }
}

fn status_text(status: &ZoneStatus) -> String {
    let ZoneStatus { summary, .. } = status;
    let time = |seconds: Option<u32>| seconds.map(|seconds| time_cell(Some(seconds)));
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let rows = [
        ("zone", Some(summary.zone.clone())),
        ("state", Some(word(&summary.state))),
        ("error", summary.error.clone()),
        ("unkept", status.unkept.clone()),
        ("withheld", status.withheld.clone()),
        ("file", (!status.file.as_os_str().is_empty()).then(|| status.file.display().to_string())),
        ("dnssec", Some(word(&summary.dnssec))),
        ("from", Some(source_cell(summary))),
        ("group", status.group.clone()),
        ("policy", Some(status.policy.clone())),
        ("serial", summary.serial.map(|serial| serial.to_string())),
        ("records", number(status.records)),
        ("owners", number(status.owners)),
        ("held", status.held.map(|held| word(&held))),
        ("records-written", number(status.records_written)),
        ("records-kept", number(status.records_kept)),
        ("loaded-at", time(status.loaded_at)),
        ("from-last-run", status.from_last_run.then(|| "yes".to_owned())),
        ("verified-at", time(status.verified_at)),
        ("expiration", time(summary.expiration)),
        ("resign-at", time(status.resign_at)),
        ("allow-transfer", Some(list_cell(&status.allow_transfer))),
    ];
    let lists = status.lists.iter().flat_map(catalog_rows);
    let primaries = status.primaries.iter().flat_map(primaries_rows);
    let front = status.front.iter().flat_map(front_rows);
    let running = status.running.map(|event| ("running", Some(word(&event))));
    let notified = status.notify.iter().map(|one| ("notify", Some(notify_text(one))));
    let next = status.events.iter().map(|event| ("next", Some(event_text(event))));
    let known = rows
        .into_iter()
        .chain(lists)
        .chain(primaries)
        .chain(front)
        .chain(notified)
        .chain(running)
        .chain(next);
    let known = known.filter_map(|(field, value)| Some((field, value?)));
    known.map(|(field, value)| format!("{field:16} {value}\n")).collect()
}

fn catalog_rows(status: &CatalogStatus) -> Vec<(&'static str, Option<String>)> {
    let refused = status.first_refused.iter();
    let refused = refused.map(|one| ("refused", Some(format!("{}: {}", one.zone, one.why))));
    let more = status.refused.saturating_sub(status.first_refused.len() as u64);
    let members = ("members", Some(status.members.to_string()));
    let more = ("refused", (more > 0).then(|| format!("{more} more")));
    [members].into_iter().chain(refused).chain([more]).collect()
}

fn primaries_rows(status: &PrimariesStatus) -> [(&'static str, Option<String>); 7] {
    let time = |seconds: Option<u32>| seconds.map(|seconds| time_cell(Some(seconds)));
    let configured: Vec<String> = status.configured.iter().map(ToString::to_string).collect();
    [
        ("primaries", Some(list_cell(&configured))),
        ("primary-asked", status.asked.map(|asked| asked.to_string())),
        ("primary-serial", status.serial.map(|serial| serial.to_string())),
        ("last-success", time(status.last_success)),
        ("last-failure", time(status.last_failure)),
        ("failure", status.failure.clone()),
        ("expires-at", time(status.expires_at)),
    ]
}

/// What the server has that sealdns stands in front of, and whether XDP answers.
fn front_rows(status: &FrontStatus) -> [(&'static str, Option<String>); 2] {
    [
        ("server-serial", status.serial.map(|serial| serial.to_string())),
        ("passed", status.passed.clone()),
    ]
}

/// What a server that is told of serials knows.
fn notify_text(status: &NotifyStatus) -> String {
    let NotifyStatus { server, serial, messages, .. } = status;
    let known = match (status.acknowledged, status.acknowledged_at) {
        (Some(known), at) => format!("knows serial {known} since {}", time_cell(at)),
        (None, _) => "has acknowledged nothing".to_owned(),
    };
    let told = match () {
        () if status.acknowledged == Some(*serial) => String::new(),
        () if status.is_given_up => format!("; serial {serial} given up after {messages} messages"),
        () => format!("; serial {serial} told {messages} times"),
    };
    let error = status.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{server} {known}{told}{error}")
}

/// What is to happen, when, and why.
fn event_text(event: &ZoneEvent) -> String {
    let why = match event.why {
        EventReason::NotTried => "it was not tried yet",
        EventReason::Failed => "the last attempt has failed",
        EventReason::FromLastRun => "what is served is of the last run",
        EventReason::Asked => "somebody has asked for it",
        EventReason::Refused => "the last change could not be made durable",
        EventReason::SignaturesBegin => "a signature begins to be valid",
        EventReason::KeysChange => "a key begins or ceases to be used",
        EventReason::SignaturesEnd => "signatures end soon after",
        EventReason::SignaturesAhead => "signatures are not valid yet",
        EventReason::NotVerified => "what is served was never verified",
        EventReason::Daily => "it is verified once a day",
        EventReason::Verified => "what was found is to take effect",
        EventReason::NotKept => "what is served could not be kept for the next start",
        EventReason::JournalLong => "much changed since it was written as a whole",
        EventReason::NotTransferred => "no version has come from a primary yet",
        EventReason::RefreshPassed => "a primary is asked from time to time",
        EventReason::Notified => "a primary has said that there is a newer version",
        EventReason::Transferred => "a version has come from a primary",
        EventReason::Updated => "clients have sent updates",
        EventReason::Unconfirmed => "if no primary is heard of until then",
    };
    format!("{} {}: {why}", time_cell(Some(event.at)), word(&event.event))
}

fn reload_text(reload: &ZoneReload) -> String {
    reload.zones.iter().map(|zone| format!("{}: {}\n", zone.zone, change_text(zone))).collect()
}

fn change_text(zone: &ZoneChange) -> String {
    if let Some(error) = &zone.error {
        return format!("failed: {error}");
    }
    let change = word(&zone.change);
    let difference = zone.difference.map(|difference| difference_text(&difference));
    difference.map_or(change.clone(), |difference| format!("{change}, {difference}"))
}

fn difference_text(difference: &VersionDifference) -> String {
    let VersionDifference { old_serial, new_serial, removed, added } = difference;
    let plural = if *removed == 1 { "" } else { "s" };
    format!("serial {old_serial} to {new_serial}: {removed} record{plural} removed, {added} added")
}

fn history_text(history: &ZoneHistory) -> String {
    let rows = history.changes.iter().map(|change| {
        let VersionDifference { old_serial, new_serial, removed, added } = change.difference;
        let numbers = [u64::from(old_serial), u64::from(new_serial), removed, added];
        // The times of this century and some more.
        let at = time_cell(u32::try_from(change.at).ok());
        [at, word(&change.why)]
            .into_iter()
            .chain(numbers.map(|number| number.to_string()))
            .collect()
    });
    let shown = table(&["changed at", "why", "from serial", "to serial", "removed", "added"], rows);
    match history.changes.is_empty() {
        true => format!("{} serial {}: no change is known\n", history.zone, history.serial),
        false => shown,
    }
}

/// As `diff -u` marks lines.
fn diff_text(diff: &ZoneDiff) -> String {
    let ZoneDiff { zone, from, to, removed, added } = diff;
    let removed = removed.iter().map(|record| format!("-{record}\n"));
    let added = added.iter().map(|record| format!("+{record}\n"));
    let head = format!("{zone} serial {from} to {to}\n");
    std::iter::once(head).chain(removed).chain(added).collect()
}

fn rollback_text(rolled_back: &ZoneRolledBack) -> String {
    let ZoneRolledBack { zone, to, difference } = rolled_back;
    format!(
        "{zone}: the records of serial {to} are served until the zone's file changes; {}\n",
        difference_text(difference)
    )
}

/// What `zone check` found.
#[derive(Serialize)]
struct ZoneCheck {
    ok: bool,
    zone: String,
    serial: Option<u32>,
    records: Option<usize>,
    signed: bool,
    findings: Vec<ReportedFinding>,
    /// Whether there may be more than is listed.
    more: bool,
}

/// Something that is wrong with a zone file. Of the file as a whole there is no line.
#[derive(Serialize)]
struct ReportedFinding {
    file: String,
    line: Option<usize>,
    column: Option<usize>,
    severity: &'static str,
    code: &'static str,
    message: String,
}

fn check(file: &Path, zone: Option<&str>, output: &Output) -> CommandResult {
    let apex = match zone {
        Some(text) => text.parse().map_err(|error: NameError| usage(error.to_string()))?,
        None => name_of_file(file).ok_or_else(|| {
            usage(format!("{} does not tell the zone's name: add --zone NAME", file.display()))
        })?,
    };
    let report = prepare::check(file, &apex, WallTime::now().signature_time());
    let is_ok = report.is_ok();
    let findings = report.findings.iter().map(|finding| {
        let place = &finding.place;
        ReportedFinding {
            file: place.file.clone(),
            line: (place.line > 0).then_some(place.line),
            column: (place.line > 0).then_some(place.column),
            severity: finding.severity.word(),
            code: finding.code,
            message: finding.message.clone(),
        }
    });
    let checked = ZoneCheck {
        ok: is_ok,
        zone: apex.to_string(),
        serial: report.serial.map(|serial| serial.0),
        records: report.records,
        signed: report.is_signed,
        findings: findings.collect(),
        more: report.has_more,
    };
    output.data(&checked, |_| {
        let findings = report.findings.iter().map(|finding| format!("{}\n", finding.text));
        let mut text: String = findings.collect();
        if report.has_more {
            text.push_str("and there may be more\n");
        }
        if let (true, Some(serial), Some(records)) = (is_ok, report.serial, report.records) {
            let signed = if report.is_signed { "signed and verified" } else { "not signed" };
            text.push_str(&format!("{apex} serial {serial}: {records} records, {signed}\n"));
        }
        text
    });
    Ok(if is_ok { Exit::Ok } else { Exit::Problems })
}

fn usage(message: String) -> CliError {
    CliError { exit: Exit::Usage, failure: Failure::new("usage", message) }
}

/// `example.com` of `zones/example.com.zone`.
fn name_of_file(file: &Path) -> Option<Name> {
    let name = file.file_name()?.to_str()?;
    let mut name = name.strip_prefix("db.").unwrap_or(name);
    for ending in [".signed", ".zone", ".db"] {
        name = name.strip_suffix(ending).unwrap_or(name);
    }
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_named_by_their_files() {
        for file in
            ["z/example.com.zone", "db.example.com", "example.com.zone.signed", "example.com"]
        {
            let name = name_of_file(Path::new(file)).map(|name| name.to_string());
            assert_eq!(name.as_deref(), Some("example.com."), "{file}");
        }
    }
    #[test]
    fn a_reload_tells_what_it_changed() {
        let difference = VersionDifference { old_serial: 7, new_serial: 8, removed: 1, added: 2 };
        let zone = |change, difference, error: Option<&str>| ZoneChange {
            zone: "a.".into(),
            change,
            difference,
            error: error.map(str::to_owned),
        };
        let zones = vec![
            zone(Change::Loaded, Some(difference), None),
            zone(Change::Loaded, None, None),
            zone(Change::Failed, None, Some("no such file")),
        ];
        assert_eq!(
            reload_text(&ZoneReload { zones }),
            "a.: loaded, serial 7 to 8: 1 record removed, 2 added\na.: loaded\na.: failed: no such file\n"
        );
    }
}
