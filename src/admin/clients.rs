//! CLIENT LIST, KILL, PAUSE and UNBLOCK: clients live on all shards.

use super::{Admin, Requester, Then, integer, word};
use crate::server::{ClientFilter, Question, Told};
use shards::ids::ConnId;

const SYNTAX: &str = "ERR syntax error";

impl Admin {
    /// CLIENT LIST [TYPE type] [ID id …]
    pub(super) fn client_list(&mut self, requester: Requester, args: &[&[u8]]) {
        let mut filter = ClientFilter::default();
        match args.get(2).map(|arg| word(arg)).as_deref() {
            None => {}
            Some("type") if args.len() == 4 => match type_exists(&word(args[3])) {
                Some(is_normal) => filter.nobody = !is_normal,
                None => {
                    let text = format!("ERR Unknown client type '{}'", String::from_utf8_lossy(args[3]));
                    return self.error(requester, &text);
                }
            },
            Some("id") if args.len() > 3 => {
                let ids: Option<Vec<u64>> = args[3..].iter().map(|arg| positive(arg)).collect();
                match ids {
                    Some(ids) => filter.ids = Some(ids),
                    None => return self.error(requester, "ERR Invalid client ID"),
                }
            }
            Some(_) => return self.error(requester, SYNTAX),
        }
        self.ask(Question::ListClients(filter), Then::ListClients(requester));
    }

    pub(super) fn clients_listed(&mut self, requester: Requester, told: Vec<Told>) {
        let lists = told.into_iter().filter_map(|told| if let Told::Clients(list) = told { Some(list) } else { None });
        let mut lines: Vec<(u64, Vec<u8>)> = lists.flatten().collect();
        lines.sort();
        let mut text = Vec::new();
        for (_, line) in lines {
            text.extend(line);
            text.push(b'\n');
        }
        self.answer(requester, |reply| reply.verbatim(b"txt", &text));
    }

    /// CLIENT KILL addr | [ID id] [TYPE type] [ADDR addr] [LADDR addr] [USER name] [SKIPME yes|no] [MAXAGE seconds]
    pub(super) fn client_kill(&mut self, requester: Requester, args: &[&[u8]]) {
        let is_old_form = args.len() == 3;
        let mut filter = ClientFilter::default();
        if is_old_form {
            filter.addr = Some(String::from_utf8_lossy(args[2]).into_owned());
        } else if let Err(text) = parse_kill(&mut filter, &args[2..], requester.conn) {
            return self.error(requester, &text);
        }
        filter.asker = Some(requester.conn);
        self.ask(Question::KillClients(filter), Then::KilledClients { requester, is_old_form });
    }

    pub(super) fn clients_killed(&mut self, requester: Requester, is_old_form: bool, told: &[Told]) {
        let count: u64 = told.iter().map(|told| if let Told::Count(count) = told { *count } else { 0 }).sum();
        match (is_old_form, count) {
            (true, 0) => self.error(requester, "ERR No such client"),
            (true, _) => self.ok(requester),
            (false, _) => self.answer(requester, |reply| reply.integer(count as i64)),
        }
    }

    /// CLIENT PAUSE milliseconds [WRITE | ALL]
    pub(super) fn client_pause(&mut self, requester: Requester, args: &[&[u8]], now: i64) {
        let writes_only = match args.get(3).map(|arg| word(arg)).as_deref() {
            None | Some("all") => false,
            Some("write") => true,
            Some(_) => return self.error(requester, "ERR CLIENT PAUSE mode must be WRITE or ALL"),
        };
        let Some(milliseconds) = integer(args[2]) else {
            return self.error(requester, "ERR timeout is not an integer or out of range");
        };
        if milliseconds < 0 {
            return self.error(requester, "ERR timeout is negative");
        }
        let until_ms = now.saturating_add(milliseconds);
        self.ask(Question::Pause { until_ms, writes_only }, Then::Ok(requester));
    }

    /// No command blocks yet: there is never anybody to wake.
    pub(super) fn client_unblock(&mut self, requester: Requester, args: &[&[u8]]) {
        let reason = args.get(3).map(|arg| word(arg));
        if !matches!(reason.as_deref(), None | Some("timeout" | "error")) {
            return self.error(requester, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        }
        match integer(args[2]) {
            Some(_) => self.answer(requester, |reply| reply.integer(0)),
            None => self.error(requester, "ERR value is not an integer or out of range"),
        }
    }
}

fn positive(arg: &[u8]) -> Option<u64> {
    integer(arg).filter(|&id| id > 0).map(|id| id as u64)
}

/// Whether clients of this type exist; None: no such type.
fn type_exists(name: &str) -> Option<bool> {
    match name {
        "normal" => Some(true),
        "master" | "replica" | "slave" | "pubsub" => Some(false),
        _ => None,
    }
}

fn parse_kill(filter: &mut ClientFilter, options: &[&[u8]], me: ConnId) -> Result<(), String> {
    filter.skip = Some(me);
    let (pairs, []) = options.as_chunks::<2>() else { return Err(SYNTAX.into()) };
    for [name, value] in pairs {
        let text = String::from_utf8_lossy(value).into_owned();
        match word(name).as_str() {
            "id" => {
                let id = positive(value).ok_or("ERR client-id should be greater than 0")?;
                filter.ids.get_or_insert_default().push(id);
            }
            "type" => filter.nobody |= !type_exists(&word(value)).ok_or_else(|| format!("ERR Unknown client type '{text}'"))?,
            "addr" => filter.addr = Some(text),
            "laddr" => filter.laddr = Some(text),
            "user" if text == "default" => {}
            "user" => return Err(format!("ERR No such user '{text}'")),
            "skipme" => match word(value).as_str() {
                "yes" => filter.skip = Some(me),
                "no" => filter.skip = None,
                _ => return Err(SYNTAX.into()),
            },
            "maxage" => {
                let seconds = integer(value).ok_or("ERR maxage is not an integer or out of range")?;
                if seconds <= 0 {
                    return Err("ERR maxage should be greater than 0".into());
                }
                filter.max_age_s = Some(seconds);
            }
            _ => return Err(SYNTAX.into()),
        }
    }
    Ok(())
}
