//! The order of decision over a whole body: redaction finds, boundaries, route, allowlist, targets, tokens, limits,
//! budgets. It ends with what is sent on, what the ledger is asked, or why neither.

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

use weir_dialects::bedrock;
use weir_sorted::contains;
use weir_tokens::Vocabulary;
use weir_wire::splice::Splices;

use super::reserve::{self, Again, Pending};
use super::{Admitted, DEFAULT_CEILING, Exchange, State, ahead};
use crate::budget::{self, Bound, Lowering};
use crate::decide::{self, Facts};
use crate::io::{Effect, Now, Step};
use crate::learned::{self, Cell};
use crate::measure::Measure;
use crate::outside::Finder;
use crate::own;
use crate::paths::{Api, Named};
use crate::policy::Policy;
use crate::prompt::{self, Redacted, Request};
use crate::refusal::Refusal;
use crate::trace::Stage;
use weir_config::filter::{ProviderKind, Target};

/// The least output ceiling that is set where the prompt cannot be counted.
const MIN_DEFAULT: u64 = 256;

impl Exchange {
    /// The order of decision: redaction finds, boundaries, route, allowlist, targets, tokens, limits, budgets.
    pub(super) fn judge(
        &mut self,
        policy: &Rc<Policy>,
        admitted: &Admitted,
        body: &[u8],
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Step, Refusal> {
        let Admitted { caller, api, scheme, named, .. } = admitted;
        let named = named.as_ref();
        let counting = *api == Api::AnthropicCount;
        let doc = prompt::parse(body)?;
        let api = match api {
            // Whose dialect its body has, only the body says.
            Api::BedrockInvoke if !bedrock::invoke::is_messages(&doc) => &Api::BedrockModel,
            api => api,
        };
        let request = Request::read(*api, &doc, named)?;
        self.span.request_model = request.model().to_owned();
        self.span.stream = request.stream();
        let asked = policy.name_of(request.model());
        self.keeps(policy, caller, asked);
        self.place(policy)?;
        let mut redacted = Redacted::default();
        if let Some(set) = policy.redaction(caller, asked, true) {
            let decoded = match prompt::decoded(&request, body, &|| tokenizer(policy, request.model())) {
                Err(_) if policy.may_pass(caller, asked, true) => {
                    self.span.note(now.0, "weir.redaction", "weir.unsearched", "request");
                    None
                }
                decoded => decoded?,
            };
            policy.seen.borrow_mut().seed(&self.entropy);
            let mut finder = Finder {
                set: &set,
                rules: policy.rules(caller, asked, true),
                policy,
                asked: policy.analyzers(caller, asked),
                known: &mut self.known,
                wanted: Vec::new(),
                now,
            };
            match &decoded {
                None => redacted = prompt::redact(*api, &doc, &mut finder, request.stored())?,
                Some(decoded) => {
                    redacted = prompt::redact(*api, &prompt::parse(decoded)?, &mut finder, false)?;
                }
            }
            let wanted = finder.wanted;
            if !wanted.is_empty() {
                return self.ask(policy, admitted, body, (wanted, &redacted.found), now, effects);
            }
            if let Some(decoded) = decoded
                && !redacted.edits.is_empty()
            {
                // What must be changed goes on as text.
                return self.judge(policy, admitted, &decoded, now, effects);
            }
        }
        if *api == Api::BedrockModel
            && request.stream()
            && (redacted.vault.is_some()
                || policy.redaction(caller, asked, false).is_some() && !policy.may_pass(caller, asked, false))
        {
            return Err(Refusal::request(
                400,
                "unsupported_feature",
                "the stream of this model's own dialect cannot be redacted: ask for a whole answer, or use Converse",
            ));
        }
        self.trace.note(Stage::Redaction, || {
            if redacted.counts.is_empty() {
                "nothing found".to_owned()
            } else {
                format!("found {:?}", redacted.counts)
            }
        });
        self.span.findings = std::mem::take(&mut redacted.counts);
        if !redacted.found.is_empty() {
            self.span.note(now.0, "weir.redaction", "weir.found", &redacted.found.join(","));
        }

        if self.span.downgrade.is_none() && !self.counting {
            self.note_parameters(*api, &request, doc.root());
            self.end_user_in(policy, caller, doc.root());
        }

        let [roll, ..] = self.entropy;
        let downgrade = self.span.downgrade.clone();
        let features = request.needs();
        let facts = Facts {
            asked: request.model(),
            found: &redacted.found,
            needs: &features,
            api: *api,
            only_bedrock: request.only_bedrock() || contains(&admitted.extra, "guardrail"),
            now,
            instead: downgrade.as_ref().map(|(_, model)| model.as_str()),
        };
        let mut choice = decide::decide(policy, caller, facts, roll, &mut self.trace)?;
        self.span.route = choice.route.unwrap_or_default().to_owned();
        self.span.model.clone_from(&choice.model.name);
        self.span.note(now.0, "weir.route", "weir.model", &choice.model.name);

        let mut budgets = budget::matching(&policy.config.budgets, caller, &choice.model.name);
        if counting {
            // Free of charge.
            budgets.clear();
        }
        let mut redaction = redacted.edits;
        let limits = policy.tenant(caller).map(|t| t.limits).unwrap_or_default();
        let prompts = request.prompts();
        let narrowest = |targets: &[(usize, &Target)]| {
            let least = targets.iter().map(|(_, t)| t.context).filter(|c| *c > 0).min().unwrap_or(u64::MAX);
            least.saturating_mul(prompts)
        };
        let mut context = narrowest(&choice.targets);
        // The window of the target that takes most bounds what any of them can bill.
        let widest = |c: u64| if c == 0 { u64::MAX } else { c };
        let widest = choice.targets.iter().map(|(_, t)| widest(t.context)).max().unwrap_or(u64::MAX);

        // The prompt is counted as it leaves: after redaction, before the ceiling, which has no tokens.
        let edited = if redaction.is_empty() { None } else { Some(applied(&mut redaction, body)?) };
        let counted_doc = match &edited {
            Some(bytes) => Cow::Owned(prompt::parse(bytes)?),
            None => Cow::Borrowed(&doc),
        };
        let measure =
            Measure { api: *api, doc: &counted_doc, request: &request, targets: &choice.targets, context };
        let size = self.measured(policy, &measure, &budgets, &limits, now);
        self.show_request(policy, caller, *api, asked, counted_doc.root());
        self.apportion(policy, counted_doc.root());
        drop(counted_doc);
        // A prompt that is known to be too long for some targets goes to the others; for all, it is theirs to say.
        let fits = |t: &Target| t.context == 0 || size.tokens() < t.context.saturating_mul(prompts);
        if size.exact && size.tokens() >= context && choice.targets.iter().any(|(_, t)| fits(t)) {
            decide::keep(&mut choice.targets, &mut |t| fits(t));
            context = narrowest(&choice.targets);
            self.trace.note(Stage::Targets, || format!("{} with a window that fits", choice.targets.len()));
        }
        if let Some(max) = limits.max_input_tokens
            && size.tokens() > max
        {
            self.trace.note(Stage::Limits, || format!("{} input tokens are more than {max}", size.tokens()));
            return Err(Refusal::request(
                400,
                "input_too_long",
                format!(
                    "the prompt has {}{} tokens; the limit of tenant `{}` is {max}: shorten it",
                    if size.counted.is_some() { "" } else { "up to " },
                    size.tokens(),
                    caller.name
                ),
            ));
        }

        if counting {
            if size.exact {
                effects.push(Effect::Reply(self.counted(size.tokens())));
                return Ok(Step::Pause);
            }
            decide::keep(&mut choice.targets, &mut |t| {
                policy.provider(&t.provider).is_some_and(|p| p.kind == ProviderKind::Anthropic)
            });
            if choice.targets.is_empty() {
                return Err(Refusal::request(
                    400,
                    "unsupported_feature",
                    format!(
                        "the tokens of this request can only be estimated for model `{}`: no target of it counts them",
                        choice.model.name
                    ),
                ));
            }
        }

        if request.unlimited() && limits.max_output_tokens.is_some() {
            // What cannot be written is not pretended.
            return Err(Refusal::request(
                400,
                "unsupported_feature",
                "the output of this request is limited, and where its body has a limit is not known: name one, or use Converse",
            ));
        }
        let mut edits = Splices::new();
        let asked = request.ceiling();
        let embeds = *api == Api::OpenaiEmbeddings;
        let hard = budgets.iter().any(|budget| !budget.soft);
        // What cannot be counted is bounded by its bytes, several times too high: it must not choke the answer.
        let room = context.saturating_sub(size.bound).max(if size.exact { 1 } else { MIN_DEFAULT });
        let ceiling = match (asked, limits.max_output_tokens) {
            _ if counting || embeds || request.unlimited() => None,
            (Some(asked), Some(max)) => Some(asked.min(max)),
            (Some(asked), None) => Some(asked),
            (None, Some(max)) => Some(max),
            // A budget needs a ceiling to reserve; elsewhere the provider's own default is the client's wish.
            (None, None) if !hard => None,
            (None, None) => Some(DEFAULT_CEILING.min(room)),
        };
        if let Some(ceiling) = ceiling
            && asked != Some(ceiling)
        {
            request.set_ceiling(ceiling, &mut edits);
        }
        self.trace.note(Stage::Limits, || match (ceiling, asked) {
            (Some(ceiling), Some(asked)) => format!("at most {ceiling} output tokens, of {asked} asked"),
            (Some(ceiling), None) => format!("at most {ceiling} output tokens, none asked"),
            (None, _) => "no ceiling".to_owned(),
        });

        // Without usage a hard budget would have to keep the whole reservation.
        let hide_usage = request.stream() && !request.include_usage() && !budgets.is_empty();
        if hide_usage {
            request.set_include_usage(&mut edits);
        }

        let answers = request.answers();
        let each = if embeds { 0 } else { ceiling.unwrap_or(DEFAULT_CEILING.min(room)).min(widest) };
        // What a predicted answer got wrong is billed as output beside the ceiling.
        let predicted = doc.root().get("prediction").map_or(0, |v| v.range().len() as u64);
        let output = each.saturating_mul(answers).saturating_add(predicted);
        self.bound = Bound::over(size.bound, output, &choice.targets);
        self.input_known = size.exact;
        if let Some(field) =
            reserve::unboundable(policy, &budgets, &request, &doc, &choice.targets, size.bound)
        {
            return Err(Refusal::request(
                400,
                "unboundable",
                format!(
                    "nothing bounds what `{field}` may cost, and a hard budget applies: leave it out, or let the budget say `unbounded: allow`"
                ),
            )
            .at(field));
        }
        if self.bound.input == u64::MAX {
            // Let through by the policy: what is seen of it is reserved.
            self.bound.input = size.seen;
        }
        let thinking =
            doc.root().get("thinking").and_then(|t| t.get("budget_tokens")).and_then(|b| b.as_u64());
        let never = features.iter().any(|feature| matches!(*feature, "tools" | "json_schema"));
        let first = ahead::first(policy, &budgets, &request, *api, &choice.targets);
        let lowers = budgets.iter().any(|budget| budget.min_output.is_some() && !budget.soft);
        self.teaches = lowers;
        let mut usual = budget::TRANSIENT_FLOOR;
        if lowers && !never {
            let learned = policy.learned.borrow();
            for (_, target) in &choice.targets {
                let cell = learned.cell(learned::answers(&target.provider, &target.model));
                usual = usual.max(cell.and_then(Cell::usual).unwrap_or(0));
            }
        }
        let lowering = Lowering { answers, never, thinking: thinking.unwrap_or(0), usual, first };
        self.needs = budget::needs(&budgets, caller, &choice.model.name, &self.bound, &lowering);
        if ceiling == Some(0) && hard {
            return Err(Refusal::request(
                400,
                "invalid_value",
                "an output ceiling of 0 leaves nothing to answer",
            )
            .at("max_tokens"));
        }

        let mut edits = edits.behind(&redaction);
        let out = match edited {
            edited if edits.is_empty() => edited,
            Some(edited) => Some(applied(&mut edits, &edited)?),
            None => Some(applied(&mut edits, body)?),
        };
        // Where they are in the body that leaves.
        let moved = |range| edits.moved(redaction.moved(range));
        let model_at = moved(request.model_at());
        let own_at = doc.root().get(own::member(*api)).map(|own| moved(own.range())).unwrap_or_default();
        debug_assert!(out.as_ref().is_none_or(|body| names_model(body, *api, named, &model_at)));

        let mut flight = self.plan(
            policy,
            &choice,
            caller,
            *api,
            &request,
            model_at,
            out.as_ref().map_or(body.len(), Vec::len),
            scheme,
            now,
            redacted.vault,
        );
        flight.plan.anthropic.clone_from(&admitted.anthropic);
        flight.plan.extra.clone_from(&admitted.extra);
        flight.plan.own_at = (own_at.start as u64, own_at.end as u64);
        if *api == Api::BedrockInvoke {
            flight.plan.anthropic.1 = bedrock::invoke::beta(&doc);
        }
        flight.copy = self.copied(policy, &choice, caller, &budgets, &size, body.len());
        flight.ahead = first.map(|first| ahead::Ahead::new(first, &self.bound, &self.needs, &budgets));
        if self.needs.is_empty() {
            self.trace.note(Stage::Budgets, || "none applies".to_owned());
            let mut send = self.send(policy, &flight, body.len(), out);
            effects.append(&mut send);
            self.state = State::Sent(Box::new(flight));
            return Ok(Step::Continue);
        }
        self.trace.note(Stage::Budgets, || reserve::told(&self.needs, &budgets));
        let rough = size.loose && hard && !self.counting;
        let again = (rough || reserve::may_change(&self.needs, &budgets, downgrade.is_some()))
            .then(|| Again { admitted: Box::new(admitted.clone()), body: body.to_vec() });
        let pending = Pending { flight: Box::new(flight), body: out, size: body.len(), rough, again };
        self.state = State::Reserving(Box::new(pending));
        let mut needs = self.needs.clone();
        if rough {
            // Whoever has to wait is counted first.
            needs.iter_mut().for_each(|need| need.wait = 0);
        }
        effects.push(if rough { Effect::Try(needs) } else { Effect::Reserve(needs) });
        Ok(Step::Pause)
    }
}

/// The vocabulary of token ids: whoever sends some has them from the model that it asks for.
fn tokenizer(policy: &Policy, model: &str) -> Option<Vocabulary> {
    let tokenizer = policy.model(model)?.targets.iter().find_map(|target| target.tokenizer.as_deref());
    Vocabulary::from_name(tokenizer?)
}

/// Whether a body is one whose model is named at a place.
fn names_model(body: &[u8], api: Api, named: Option<&Named>, at: &Range<usize>) -> bool {
    let Ok(doc) = prompt::parse(body) else { return false };
    Request::read(api, &doc, named).is_ok_and(|request| request.model_at() == *at)
}

pub(super) fn applied(edits: &mut Splices, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    edits.apply(body).map_err(|e| {
        Refusal::server(
            500,
            "edit_failed",
            format!("the body could not be edited ({e}): report this request's id"),
        )
    })
}
