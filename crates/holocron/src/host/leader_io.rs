//! Carries out what `protocol::control::leader` decides, while this host leads.

mod collect;
mod elsewhere;
mod history;
mod hosts;
mod stale;

use std::{collections::BTreeMap, sync::Arc};

use holocron_protocol::{
    control::{
        election,
        leader::{
            Answer, DomainEvent, Effect, Event as LeaderEvent, LeaderSettings, Leadership, Own,
            StoreHealth,
        },
        member,
        suspicion::SuspicionSettings,
    },
    epoch::record::RecordDigest,
    format::{keys, segment::Trimmed},
    ids::{DomainId, Epoch, HostName, SessionId},
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::driver::{Driver, Event};
use crate::{
    api::settings::Settings,
    transport::{
        peer::{PeerMessage, PeerReply, Progress},
        serve::View,
    },
};

/// A leadership: from the first epoch that this session wrote until another session leads.
pub(crate) struct Lead {
    pub(super) leadership: Leadership,
    /// The tasks that watch the hosts: by session, with the watched address.
    watchers: BTreeMap<SessionId, (String, CancellationToken)>,
    /// How far the epoch log is trimmed, once that is known; locked while a task trims it.
    trimming: Arc<tokio::sync::Mutex<Option<Trimmed>>>,
    /// The number of the newest report of our own loads that the leadership has.
    own_loads_heard: u64,
    /// Ends all tasks of this leadership.
    stop: CancellationToken,
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn settings_of(settings: &Settings) -> LeaderSettings {
    LeaderSettings {
        suspicion: SuspicionSettings {
            interval: settings.heartbeat,
            missed_max: settings.heartbeats_missed_max,
            silence_by_hint_max: settings.host_hint_every * 3,
            standstill: settings.standstill_max,
            handoff_timeout: settings.handoff_timeout,
            late_after: settings.heartbeat * 3,
        },
        list_hints_every: settings.host_hint_every,
        collect_again_after: settings.collect_again_after,
    }
}

impl Driver {
    /// The newest record is ours.
    pub(super) fn on_leading(&mut self, epoch: Epoch) {
        let created = self.created.take().filter(|(view, _)| view.record.epoch == epoch);
        let known = self.view.clone().filter(|view| view.record.epoch == epoch);
        match (known, created) {
            // It was read from the log: the record that counts. What was created last may be another one, after a create
            // without a clear answer.
            (Some(view), created) => {
                let created = created.filter(|(created, _)| created.stored == view.stored);
                let before = created.and_then(|(_, before)| before);
                self.push(&view);
                self.lead_by(before.as_ref(), &view);
            }
            (None, Some((view, before))) => {
                self.push(&view);
                self.set_view(&view);
                self.member(member::Event::Epoch(Arc::clone(&view.record)));
                self.lead_by(before.as_ref(), &view);
            }
            (None, None) => unreachable!("{epoch} is ours, and was neither created nor read"),
        }
    }

    fn lead_by(&mut self, before: Option<&View>, view: &View) {
        if view.record.leader.session != self.current.id() {
            // Our previous session, which is over, wrote this record. This one leads once it has written a record itself.
            return;
        }
        let parts = &self.shared.parts;
        let digest = RecordDigest::of(&view.stored);
        if self.lead.is_none() {
            tracing::info!(host = %parts.name, epoch = %view.record.epoch, "host leads");
            let (settings, record) = (settings_of(&parts.settings), Arc::clone(&view.record));
            let name = parts.name.clone();
            self.lead = Some(Lead {
                leadership: Leadership::new(name, settings, self.now(), record, digest),
                watchers: BTreeMap::new(),
                trimming: Arc::default(),
                own_loads_heard: 0,
                stop: parts.stop.child_token(),
            });
        }
        let before = before.map(|view| Arc::clone(&view.record));
        self.lead(LeaderEvent::Written(Arc::clone(&view.record), digest, before));
        // It sends itself no heartbeat.
        self.lead(LeaderEvent::Facts(self.member.facts()));
    }

    /// Pushes a new epoch to every other host, and to a process that replaces us under our name.
    fn push(&self, view: &View) {
        for host in view.record.hosts.values() {
            if host.sessions.get(&DomainId::HOME) != Some(&view.record.leader.session) {
                self.shared.links.tell(
                    &host.address,
                    PeerMessage::Epoch { epoch: view.record.epoch, stored: view.stored.clone() },
                );
            }
        }
    }

    pub(super) fn on_following(&mut self) {
        if self.lead.take().is_some() {
            self.shared.set_leading(None);
            tracing::info!(host = %self.shared.parts.name, "host no longer leads");
        }
        self.created = None;
    }

    pub(super) fn lead_tick(&mut self) {
        self.list_own_session();
        let fails = self.shared.parts.watched.fails();
        let store = if fails { StoreHealth::Failing } else { StoreHealth::Working };
        let Some(lead) = &mut self.lead else { return };
        let session = self.current.session();
        let news = session.and_then(|session| session.load_news(lead.own_loads_heard));
        if let Some(report) = news {
            lead.own_loads_heard = report.number;
            self.lead(LeaderEvent::OwnLoads(report));
        }
        let domains = self.domain_healths();
        if !domains.is_empty() {
            self.lead(LeaderEvent::Domain(DomainEvent::Own(domains)));
        }
        let own = Own { store, awaiting: self.awaited(), copying: self.copying() };
        self.lead(LeaderEvent::Tick(own));
        let status = self.lead.as_ref().map(|lead| lead.leadership.describe(self.now()));
        self.shared.set_leading(status);
    }

    /// Hands the leadership an event and carries out its effects. Does nothing if this host doesn't lead.
    pub(super) fn lead(&mut self, event: LeaderEvent) {
        drop(self.step_lead(event));
    }

    /// Hands a request to the leadership and sends its answer.
    pub(super) fn ask_lead(&mut self, event: LeaderEvent, reply: oneshot::Sender<PeerReply>) {
        let answer = if self.lead.is_none() {
            let leader = self.view.as_ref().map(|view| view.record.leader.address.clone());
            PeerReply::NotLeader { leader }
        } else {
            match self.step_lead(event) {
                Some(Answer::Noted) => PeerReply::Noted,
                Some(Answer::Refused(why)) => PeerReply::Refused(why),
                None => unreachable!("a request is answered at once"),
            }
        };
        // The requester may have disconnected.
        drop(reply.send(answer));
    }

    fn step_lead(&mut self, event: LeaderEvent) -> Option<Answer> {
        let now = self.now();
        let effects = self.lead.as_mut()?.leadership.step(now, event);
        let mut answer = None;
        for effect in effects {
            answer = self.lead_effect(effect).or(answer);
        }
        answer
    }

    fn lead_effect(&mut self, effect: Effect) -> Option<Answer> {
        let name = &self.shared.parts.name;
        match effect {
            Effect::Watch(hosts) => self.watch_hosts(hosts),
            Effect::WriteEpoch => self.elect(election::Event::ChangeWanted),
            Effect::Failed(failed, why) => {
                tracing::warn!(host = %name, %failed, why, "host is taken for dead; its session is sealed and its slots are reassigned");
            }
            Effect::AnnounceSeal(failed, session, progress) => {
                self.tell_hosts(Some(&failed), &PeerMessage::Prefetch { session, progress });
                let (shared, prefetch) = (Arc::clone(&self.shared), prefetch(session, progress));
                self.shared.spawn(async move { drop(shared.ask_self(prefetch).await) });
            }
            Effect::Prefetch { by, to, from, progress } => self.prefetch(&by, to, from, progress),
            Effect::PrefetchOwn(by, to) => {
                let progress = self.current.session().map(|session| session.journal.progress());
                self.prefetch(&by, to, self.current.id(), progress.unwrap_or_default());
            }
            Effect::Seal(session, hint) => self.seal(session, hint),
            Effect::AnnounceSealed(session, position) => {
                self.tell_hosts(None, &PeerMessage::Sealed { session, position });
                self.shared.tell_self(Event::Sealed { session, position });
            }
            Effect::Collect(detached) => self.collect(detached),
            Effect::TrimEpochLog(newest) => self.trim_epoch_log(newest),
            Effect::ProbeStore => self.probe_store(),
            Effect::ListHints(except) => self.list_hints(except),
            Effect::DeleteHints(hosts) => {
                self.delete_stale(hosts.iter().map(keys::host_hint).collect());
            }
            Effect::ListScratch => self.list_scratch(),
            Effect::DeleteScratch(keys) => self.delete_stale(keys),
            Effect::CheckEndMark(request) => self.check_end_mark(request),
            Effect::PushEpoch(address) => {
                if let Some(view) = &self.view {
                    let (epoch, stored) = (view.record.epoch, view.stored.clone());
                    self.shared.links.tell(&address, PeerMessage::Epoch { epoch, stored });
                }
            }
            Effect::EndOwnSession => self.current.end("an operator asked for it to be sealed"),
            Effect::Answer(answer) => return Some(answer),
        }
        None
    }

    /// Has a host fetch a journal before slots move to it.
    fn prefetch(&self, by: &HostName, to: SessionId, from: SessionId, progress: Progress) {
        let Some(view) = &self.view else { return };
        let address = view.record.hosts.get(by).map(|host| host.address.clone());
        let is_own = *by == self.shared.parts.name;
        let shared = Arc::clone(&self.shared);
        self.shared.spawn(async move {
            if is_own {
                shared.ask_self(prefetch(from, progress)).await;
            } else if let Some(address) = address {
                let message = PeerMessage::Prefetch { session: from, progress };
                if shared.links.ask(&address, message).await.is_none() {
                    tracing::debug!(
                        address,
                        "host did not say that it fetched a journal; slots move all the same"
                    );
                }
            }
            shared.tell_self(Event::Lead(LeaderEvent::Prefetched { to, from }));
        });
    }

    /// Sends a message to the other hosts of the newest record.
    fn tell_hosts(&self, except: Option<&HostName>, message: &PeerMessage) {
        let Some(view) = &self.view else { return };
        for (name, host) in &view.record.hosts {
            if *name != self.shared.parts.name && Some(name) != except {
                self.shared.links.tell(&host.address, message.clone());
            }
        }
    }
}

fn prefetch(
    session: SessionId,
    progress: Progress,
) -> impl FnOnce(oneshot::Sender<PeerReply>) -> Event {
    move |reply| Event::Prefetch { session, progress, reply }
}
