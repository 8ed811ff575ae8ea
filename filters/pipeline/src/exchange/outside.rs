//! A request that waits for detectors outside: its texts are shown to them, as they leave the detectors here, and it is
//! judged once more when all have answered. Where one does not, the policy says what happens.

use std::rc::Rc;

use weir_config::filter::Analyzer;

use super::{Admitted, Exchange, State};
use crate::decide;
use crate::io::{Ask, Effect, Now, Step};
use crate::outside::{self, Wanted};
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::trace::Stage;

/// What Envoy says where no answer came, by a status of its own.
const NO_HOST: u16 = 503;
const NO_TIME: u16 = 504;

/// A request that waits.
pub(super) struct Asking {
    admitted: Admitted,
    body: Vec<u8>,
    wanted: Vec<Wanted>,
    /// The first that was not asked yet.
    next: usize,
    /// Questions without an answer.
    open: u32,
    since: Now,
}

impl Exchange {
    /// Has detectors outside asked about the texts that nobody knows. `found` is what was found here.
    pub(super) fn ask(
        &mut self,
        policy: &Rc<Policy>,
        admitted: &Admitted,
        body: &[u8],
        (mut wanted, found): (Vec<Wanted>, &[String]),
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Step, Refusal> {
        let asked = self.span.request_model.clone();
        for (at, analyzer) in policy.config.analyzers.iter().enumerate() {
            let shown = wanted.iter().filter(|text| text.analyzer == at);
            let longest = shown.clone().map(|text| text.shown.len()).max();
            let Some(longest) = longest else { continue };
            self.trace.note(Stage::Redaction, || {
                format!("{} texts are shown to {}, which is not asked here", shown.count(), analyzer.name)
            });
            let inside = decide::inside(policy, &admitted.caller, &asked, found);
            if !decide::allows(&inside, &analyzer.name, &analyzer.region) {
                self.unheard(at, analyzer, "may not see this request: it is outside of the boundaries", now)?;
            } else if longest as u64 > analyzer.max_text {
                let why = format!("takes texts of at most {} bytes: send it in parts", analyzer.max_text);
                self.unheard(at, analyzer, &why, now)?;
            }
        }
        weir_sorted::keep(&mut wanted, |text| !self.known.failed(text.analyzer));
        if wanted.is_empty() {
            // At most once for each of them.
            return self.judge(policy, admitted, body, now, effects);
        }
        let admitted = admitted.clone();
        let asking = Asking { admitted, body: body.to_vec(), wanted, next: 0, open: 0, since: now };
        self.put(policy, Box::new(asking), now, effects)
    }

    /// As many questions as may be open at a time; once there are none left, the request is judged.
    fn put(
        &mut self,
        policy: &Rc<Policy>,
        mut asking: Box<Asking>,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Step, Refusal> {
        while let Some(text) = asking.wanted.get(asking.next) {
            let analyzer = policy.config.analyzers.get(text.analyzer);
            let Some(analyzer) = analyzer.filter(|_| !self.known.failed(text.analyzer)) else {
                asking.next += 1;
                continue;
            };
            if asking.open >= analyzer.parallel.max(1) {
                break;
            }
            let spent = now.0.saturating_sub(asking.since.0) / 1_000_000;
            let left = analyzer.timeout_ms.saturating_sub(spent);
            if left == 0 {
                self.unheard(text.analyzer, analyzer, "did not answer in time", now)?;
                continue;
            }
            effects.push(Effect::Ask(Ask {
                id: asking.next as u32,
                cluster: analyzer.cluster.clone(),
                authority: analyzer.authority.clone(),
                path: analyzer.path.clone(),
                body: outside::question(analyzer, &text.shown),
                timeout_ms: u32::try_from(left).unwrap_or(u32::MAX),
            }));
            asking.open += 1;
            asking.next += 1;
        }
        if asking.open == 0 {
            return self.judge(policy, &asking.admitted, &asking.body, now, effects);
        }
        self.state = State::Asking(asking);
        Ok(Step::Pause)
    }

    /// A detector has answered, or will not.
    pub(super) fn asked(
        &mut self,
        now: Now,
        id: u32,
        answer: Option<(u16, &[u8])>,
        effects: &mut Vec<Effect>,
    ) -> Result<Step, Refusal> {
        let mut asking = match std::mem::replace(&mut self.state, State::Over) {
            State::Asking(asking) => asking,
            other => {
                self.state = other;
                return Ok(Step::Pause);
            }
        };
        let Some(policy) = self.policy.clone() else { return Ok(Step::Pause) };
        asking.open = asking.open.saturating_sub(1);
        let index = id as usize;
        if let Some(text) = asking.wanted.get_mut(index)
            && let Some(analyzer) = policy.config.analyzers.get(text.analyzer)
            && !self.known.failed(text.analyzer)
        {
            let (status, bytes) = answer.unwrap_or((0, &[]));
            let hits = if status == 200 { outside::answer(analyzer, &text.shown, bytes) } else { None };
            match hits {
                Some(hits) => {
                    policy.heard.borrow_mut().put(text.key, now, &hits);
                    self.known.heard(text.key, hits);
                }
                None if status == NO_HOST && !text.again => {
                    // A connection that was kept may have been closed at that moment.
                    text.again = true;
                    let again = Wanted {
                        analyzer: text.analyzer,
                        key: text.key,
                        shown: std::mem::take(&mut text.shown),
                        again: true,
                    };
                    asking.wanted.push(again);
                }
                None => {
                    let why = match status {
                        200 => "gave an answer that is none",
                        NO_TIME => "did not answer in time",
                        0 | NO_HOST => "cannot be reached",
                        _ => "refused to look at it",
                    };
                    self.unheard(text.analyzer, analyzer, why, now)?;
                }
            }
        }
        self.put(&policy, asking, now, effects)
    }

    /// A detector does not look at a text that it should have seen.
    fn unheard(&mut self, at: usize, analyzer: &Analyzer, why: &str, now: Now) -> Result<(), Refusal> {
        if analyzer.pass {
            self.known.fail(at);
            self.span.note(now.0, "weir.redaction", "weir.unsearched", &analyzer.name);
            return Ok(());
        }
        let message = format!(
            "the policy has detector `{}` look at what is sent, and it {why}; nothing was sent on. Try again in a moment, or tell the gateway's operator",
            analyzer.name
        );
        Err(Refusal::server(503, "detector_unavailable", message).header("retry-after", "1"))
    }
}
