//! The client's side of one request: told apart, redacted, counted, routed and reserved on the way in; decoded,
//! counted, restored and settled on the way back. It alone decides where a request goes.
//!
//! The request is held until its body is complete, since every decision may depend on it. What it decided
//! goes into filter state, where the route and each [`Attempt`](crate::Attempt) read it.

use std::borrow::Cow;
use std::rc::Rc;

use weir_dialects::hub::Usage;
use weir_dialects::{anthropic, bedrock, openai_chat};
use weir_lease::Need;
use weir_pii as pii;
use weir_sorted::contains;
use weir_tokens::Vocabulary;
use weir_wire::json::{Value, Writer};

use crate::answer::{Answer, Cut, Treatment};
use crate::budget::{self, Bound, Lowering};
use crate::cooling::Cooling;
use crate::copy::{COPY, Copy, MIRROR};
use crate::decide::{self, Choice, Facts};
use crate::identity;
use crate::io::{Effect, Headers, Input, Now, Origin, Reply, Step};
use crate::learned::{self, Cell, Sample};
use crate::measure::Measure;
use crate::paths::{self, Api, Named, Path};
use crate::plan::{CLUSTER, Leg, NO_RETRY, PLAN, Plan, Progress, Report, SLOTS, TOO_LONG};
use crate::policy::{Caller, Policy};
use crate::prompt::{self, Redacted, Request};
use crate::ratelimit::Left;
use crate::record;
use crate::refusal::{ERROR_TYPE, Refusal};
use crate::sigv4::Signed;
use crate::span::{Span, TraceContext, hex};
use crate::trace::{Stage, Trace};
use weir_config::filter::{List, ProviderKind, ShowHeaders, Target, UnknownPaths};

mod ahead;
mod copies;
mod measured;
mod reserve;
mod settle;
mod stall;

use reserve::{Again, Pending};

/// Output ceiling where neither the client nor the policy names one (budget-protocol §6).
const DEFAULT_CEILING: u64 = 4096;
/// The least of it where the prompt cannot be counted.
const MIN_DEFAULT: u64 = 256;

/// The machine.
pub struct Exchange {
    policy: Option<Rc<Policy>>,
    /// The client's, by its path, before anything is known of it.
    api: Api,
    state: State,
    span: Span,
    trace: Trace,
    entropy: [u64; 4],
    needs: Vec<Need>,
    /// What a try may cost at most.
    bound: Bound,
    input_known: bool,
    /// What its usage will teach.
    sample: Option<Sample>,
    /// The prompt is counted: a rough bound was too much for a budget.
    counting: bool,
    /// How long its answer is will be learned: a budget would know below what none is cut short.
    teaches: bool,
}

enum State {
    /// Nothing has come.
    Fresh,
    /// The caller is known; the body is awaited.
    Body(Box<Admitted>),
    /// The ledger is asked.
    Reserving(Box<Pending>),
    /// Sent on.
    Sent(Box<Flight>),
    /// Handed on untouched, by policy.
    Passing,
    /// Answered here.
    Refused,
    /// Over.
    Over,
}

#[derive(Clone)]
struct Admitted {
    caller: Caller,
    api: Api,
    scheme: String,
    /// See [`Plan::anthropic`].
    anthropic: (String, String),
    /// What the path says, where it is Bedrock's.
    named: Option<Named>,
    /// See [`Plan::extra`].
    extra: String,
    /// A signature to be verified over the body.
    signed: Option<Signed>,
}

struct Flight {
    plan: Plan,
    targets: Vec<Target>,
    /// The cluster for all tries, where they have no slots.
    cluster: Option<String>,
    /// The client asked for usage itself: the usage chunk is its own.
    client_usage: bool,
    vault: Option<pii::Vault>,
    answer_set: Option<Rc<pii::Set>>,
    /// An answer that cannot be searched passes.
    unsearched: bool,
    answer: Answer,
    status: u16,
    /// What the answering try said of itself.
    report: Option<Report>,
    /// The answer came from a provider, not from Envoy.
    provider: bool,
    /// What its headers say that it cost.
    told: Option<Usage>,
    /// Answers billed.
    answers: u64,
    /// What is left of the budgets that are charged.
    left: Vec<Left>,
    /// Reserved ahead of the stream.
    ahead: Option<ahead::Ahead>,
    /// When the answer was last heard, in nanoseconds; 0 before it began.
    heard: u64,
    /// It was given up for its silence.
    silenced: bool,
    /// Cluster and decision of a copy.
    copy: Option<(String, Box<Copy>)>,
}

impl Exchange {
    /// A request under `policy`; without one it is refused.
    pub fn new(policy: Option<Rc<Policy>>) -> Self {
        Self {
            policy,
            api: Api::OpenaiChat,
            state: State::Fresh,
            span: Span::default(),
            trace: Trace::default(),
            entropy: [0; 4],
            needs: Vec::new(),
            bound: Bound::default(),
            input_known: false,
            sample: None,
            counting: false,
            teaches: false,
        }
    }

    /// Records what each stage decides, for `weir explain`.
    #[cfg(feature = "explain")]
    pub fn explained(mut self) -> Self {
        self.trace = Trace::on();
        self
    }

    /// What each stage decided, where recorded.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// What is known of the exchange so far.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// What must be held for each try.
    pub fn needs(&self) -> &[Need] {
        &self.needs
    }

    /// What the host knows of targets that throttle.
    pub fn cooling(&self, cooling: Cooling) {
        if let Some(policy) = &self.policy {
            policy.cooling.replace(cooling);
        }
    }

    /// The answer came to its end, so that nothing the host could add at [`Input::Done`] is needed.
    pub fn complete(&self) -> bool {
        matches!(&self.state, State::Sent(flight) if flight.answer.complete())
    }

    /// Takes what happened, appends what must be done.
    pub fn handle(&mut self, now: Now, input: Input<'_>, effects: &mut Vec<Effect>) -> Step {
        match input {
            Input::RequestHeaders { headers, end, entropy } => {
                self.entropy = entropy;
                match self.request_headers(now, &headers, end, effects) {
                    Ok(step) => step,
                    Err(refusal) => self.refuse(&refusal, effects),
                }
            }
            Input::RequestBody { body, size, end } => {
                match self.request_body(body, size, end, now, effects) {
                    Ok(step) => step,
                    Err(refusal) => self.refuse(&refusal, effects),
                }
            }
            Input::Reserved(answer) => self.reserved(now, answer, effects),
            Input::Short => self.short(now, effects),
            Input::ToppedUp(answer) => self.topped_up(answer),
            Input::Tick => self.silent(now, effects),
            Input::ResponseHeaders { headers, end, origin } => {
                self.response_headers(now, &headers, end, origin, effects)
            }
            Input::ResponseBody { chunk, end } => self.response_body(now, chunk, end, effects),
            Input::ResponseTrailers => self.response_body(now, &[], true, effects),
            Input::Done { report, details } => self.done(now, report, details, effects),
        }
    }

    fn refuse(&mut self, refusal: &Refusal, effects: &mut Vec<Effect>) -> Step {
        let mut reply = refusal.reply(self.api);
        self.show(&mut reply);
        self.span.error = Some(refusal.code.to_owned());
        self.span.status = refusal.status;
        self.state = State::Refused;
        effects.push(Effect::Reply(reply));
        Step::Pause
    }

    fn show(&self, reply: &mut Reply) {
        if self.api.aws() {
            reply.headers.push(("x-amzn-requestid", self.span.id.clone()));
        }
        if self.api.anthropic() {
            // Where Anthropic's SDKs look for it.
            reply.headers.push(("request-id", self.span.id.clone()));
        }
        if let Some(policy) = &self.policy
            && policy.config.headers != ShowHeaders::None
        {
            reply.headers.push(("x-weir-request-id", self.span.id.clone()));
            reply.headers.push(("x-weir-policy", policy.config.version.clone()));
        }
    }

    fn request_headers(
        &mut self,
        now: Now,
        headers: &Headers<'_>,
        end: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<Step, Refusal> {
        self.span.start = now.0;
        self.span.context = TraceContext::continued(headers.get("traceparent"), &self.entropy);
        if self.span.context.parent.is_some() {
            self.span.tracestate = tracestate(headers);
        }
        let [.., tail] = self.entropy;
        self.span.id.push_str("req_");
        hex(&mut self.span.id, &self.span.context.span);
        hex(&mut self.span.id, &tail.to_be_bytes());

        let Some(policy) = self.policy.clone() else {
            return Err(Refusal::server(
                503,
                "no_policy",
                "this gateway has received no policy yet: try again in a moment",
            )
            .header("retry-after", "1"));
        };
        self.span.policy = policy.config.version.clone();
        self.span.context.sample(policy.config.telemetry.sample);

        let method = headers.get(":method").unwrap_or_default();
        let path = headers.get(":path").unwrap_or_default();
        self.api = Api::of_path(path);
        if headers.bytes("anthropic-version").is_some() && path.starts_with(Api::Models.path()) {
            self.api = Api::AnthropicMessages;
        }
        let api = match paths::classify(method, path) {
            Path::Served(api) => api,
            Path::Unknown if policy.config.unknown_paths == UnknownPaths::Pass => {
                strip(headers, &[], effects);
                self.state = State::Passing;
                return Ok(Step::Continue);
            }
            Path::Method(allowed) => {
                return Err(Refusal::request(
                    405,
                    "method_not_allowed",
                    format!("use {allowed} for this path"),
                )
                .header("allow", allowed));
            }
            Path::Unserved | Path::Unknown => {
                return Err(Refusal::request(
                    404,
                    "unknown_path",
                    format!("this path is not served; served are: {}", paths::SERVED),
                ));
            }
        };
        self.span.operation = api.operation();
        // Whose API was called, until it is known who answers.
        self.span.provider = match api {
            _ if api.aws() => "aws.bedrock",
            _ if api.anthropic() => "anthropic",
            _ => "openai",
        }
        .to_owned();
        if headers.bytes("upgrade").is_some() {
            return Err(Refusal::request(
                400,
                "upgrade_not_supported",
                "this path does not take protocol upgrades",
            ));
        }

        let (mut caller, signed) = identity::identify(&policy, headers, now)?;
        self.trace.note(Stage::Identity, || format!("tenant {}, key {}", caller.name, caller.key));
        for name in &policy.config.client_labels {
            let mut header = String::from("x-weir-label-");
            header.push_str(name);
            // Control characters separate the parts of a counter's subject.
            let usable = |v: &&str| v.len() <= 256 && !v.bytes().any(|b| b < b' ');
            if let Some(value) = headers.get(&header).filter(usable) {
                // What the policy gave a tenant or key is not the client's to change.
                if !caller.labels.contains_key(name) {
                    caller.labels.insert(name.clone(), value.to_owned());
                }
            }
        }
        self.span.tenant.clone_from(&caller.name);
        self.span.key.clone_from(&caller.key);
        for name in &policy.config.telemetry.labels {
            if let Some(value) = caller.labels.get(name) {
                self.span.labels.push((name.clone(), value.clone()));
            }
        }

        if api == Api::Models {
            if let Some(signed) = &signed {
                signed.verify(b"").map_err(identity::unsigned)?;
            }
            let reply = self.models(&policy, &caller, now);
            self.span.status = reply.status;
            self.state = State::Refused;
            effects.push(Effect::Reply(reply));
            return Ok(Step::Pause);
        }

        let kind = headers.get("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        // Of InvokeModel's body boto3 says only that it is bytes.
        let bytes = api == Api::BedrockInvoke && matches!(kind, "" | "application/octet-stream");
        if !bytes && !kind.eq_ignore_ascii_case("application/json") {
            return Err(Refusal::request(
                415,
                "unsupported_media_type",
                "send the body as `content-type: application/json`",
            ));
        }
        if headers.get("content-encoding").is_some_and(|e| !e.trim().eq_ignore_ascii_case("identity")) {
            return Err(Refusal::request(
                415,
                "unsupported_content_encoding",
                "send the body uncompressed: it cannot be judged otherwise",
            ));
        }
        let length = headers.get("content-length").and_then(|l| l.trim().parse::<u64>().ok());
        self.fits(length.unwrap_or(0))?;
        if end {
            prompt::parse(b"")?;
        }
        strip(headers, &["accept-encoding"], effects);
        self.state = State::Body(Box::new(Admitted {
            caller,
            api,
            scheme: headers.get(":scheme").unwrap_or("http").to_owned(),
            anthropic: if api.anthropic() { asked_of_anthropic(headers) } else { Default::default() },
            signed,
            named: if api.aws() { Named::read(path) } else { None },
            extra: if api == Api::BedrockInvoke { asked_of_bedrock(headers) } else { String::new() },
        }));
        Ok(Step::Pause)
    }

    fn fits(&self, size: u64) -> Result<(), Refusal> {
        let max = self.policy.as_ref().map_or(0, |p| p.config.max_body);
        if max > 0 && size > max {
            return Err(Refusal::request(
                413,
                "request_too_large",
                format!("the body has {size} bytes; the limit is {max}"),
            ));
        }
        Ok(())
    }

    /// `count_tokens`, answered here.
    fn counted(&mut self, tokens: u64) -> Reply {
        let mut w = Writer::new(Vec::new());
        w.begin_object().key("input_tokens").u64(tokens).end_object();
        self.span.status = 200;
        self.state = State::Refused;
        let headers = vec![("content-type", "application/json".to_owned())];
        let mut reply = Reply { status: 200, headers, body: w.into_inner() };
        self.show(&mut reply);
        reply
    }

    /// `GET /v1/models`: what this tenant may use.
    fn models(&self, policy: &Policy, caller: &Caller, now: Now) -> Reply {
        let mut w = Writer::new(Vec::new());
        w.begin_object();
        w.key("object");
        w.str("list");
        w.key("data");
        w.begin_array();
        let allowed = policy.tenant(caller).map(|t| t.models.as_slice()).unwrap_or_default();
        for name in allowed {
            let aliases = policy.model(name).map(|m| m.aliases.as_slice()).unwrap_or_default();
            for name in std::iter::once(name).chain(aliases) {
                w.begin_object();
                w.key("id");
                w.str(name);
                w.key("object");
                w.str("model");
                w.key("created");
                w.u64(now.seconds());
                w.key("owned_by");
                w.str("weir");
                if self.api.anthropic() {
                    // The API allows the epoch where nobody knows better.
                    w.key("type").str("model").key("display_name").str(name);
                    w.key("created_at").str("1970-01-01T00:00:00Z");
                }
                w.end_object();
            }
        }
        w.end_array();
        if self.api.anthropic() {
            w.key("has_more").bool(false);
            for (key, id) in [("first_id", allowed.first()), ("last_id", allowed.last())] {
                w.key(key);
                match id {
                    Some(id) => w.str(id),
                    None => w.null(),
                };
            }
        }
        w.end_object();
        let mut reply = Reply {
            status: 200,
            headers: vec![("content-type", "application/json".to_owned())],
            body: w.into_inner(),
        };
        self.show(&mut reply);
        reply
    }

    fn request_body(
        &mut self,
        body: &[u8],
        size: usize,
        end: bool,
        now: Now,
        effects: &mut Vec<Effect>,
    ) -> Result<Step, Refusal> {
        let admitted = match std::mem::replace(&mut self.state, State::Over) {
            State::Body(admitted) => admitted,
            // A body that ends twice, as hosts report it, or after the answer.
            other => {
                let step = if matches!(other, State::Passing | State::Sent(_)) {
                    Step::Continue
                } else {
                    Step::Pause
                };
                self.state = other;
                return Ok(step);
            }
        };
        self.fits(size as u64)?;
        if !end {
            self.state = State::Body(admitted);
            return Ok(Step::Pause);
        }
        let Some(policy) = self.policy.clone() else {
            return Err(Refusal::server(503, "no_policy", "this gateway has received no policy yet"));
        };
        if let Some(signed) = &admitted.signed {
            signed.verify(body).map_err(identity::unsigned)?;
        }
        self.judge(&policy, &admitted, body, now, effects)
    }

    /// The order of decision: redaction finds, boundaries, route, allowlist, targets, tokens, limits, budgets.
    fn judge(
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
        let mut redacted = Redacted::default();
        if let Some(set) = policy.redaction(caller, true) {
            // Whoever sends token ids has them from the model that it asks for.
            let targets = policy.model(request.model()).map(|m| m.targets.as_slice()).unwrap_or_default();
            let tokenizer = targets.iter().find_map(|target| target.tokenizer.as_deref());
            let unsearched = policy.may_pass(caller, true);
            let decoded = match prompt::decoded(&request, body, tokenizer.and_then(Vocabulary::from_name)) {
                Err(_) if unsearched => {
                    self.span.note(now.0, "weir.redaction", "weir.unsearched", "request");
                    None
                }
                decoded => decoded?,
            };
            match decoded {
                None => redacted = prompt::redact(*api, &doc, &set, request.stored())?,
                Some(decoded) => {
                    redacted = prompt::redact(*api, &prompt::parse(&decoded)?, &set, false)?;
                    if !redacted.edits.is_empty() {
                        // What must be changed goes on as text.
                        return self.judge(policy, admitted, &decoded, now, effects);
                    }
                }
            }
        }
        if *api == Api::BedrockModel
            && request.stream()
            && (redacted.vault.is_some()
                || policy.redaction(caller, false).is_some() && !policy.may_pass(caller, false))
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
        self.span.findings.clone_from(&redacted.counts);
        if !redacted.found.is_empty() {
            self.span.note(now.0, "weir.redaction", "weir.found", &redacted.found.join(","));
        }

        if self.span.downgrade.is_none() && !self.counting {
            self.note_parameters(*api, &request, doc.root());
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
        let mut edits = redacted.edits;
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
        let edited = if edits.is_empty() { None } else { Some(applied(&edits, body)?) };
        let counted_doc = match &edited {
            Some(bytes) => Cow::Owned(prompt::parse(bytes)?),
            None => Cow::Borrowed(&doc),
        };
        let measure =
            Measure { api: *api, doc: &counted_doc, request: &request, targets: &choice.targets, context };
        let size = self.measured(policy, &measure, &budgets, &limits, now);
        drop(counted_doc);
        drop(edited);
        // A prompt that is known to be too long for some targets goes to the others; for all, it is theirs to say.
        let fits = |t: &Target| t.context == 0 || size.tokens() < t.context.saturating_mul(prompts);
        if size.exact && size.tokens() >= context && choice.targets.iter().any(|(_, t)| fits(t)) {
            choice.targets.retain(|(_, t)| fits(t));
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
            choice.targets.retain(|(_, t)| {
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
        self.trace.note(Stage::Limits, || match ceiling {
            Some(ceiling) => format!("at most {ceiling} output tokens (asked: {asked:?})"),
            None => "no ceiling".to_owned(),
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

        let out = if edits.is_empty() { None } else { Some(applied(&edits, body)?) };
        let model_at = match &out {
            Some(bytes) => Request::read(*api, &prompt::parse(bytes)?, named)?.model_at(),
            None => request.model_at(),
        };

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
        if *api == Api::BedrockInvoke {
            flight.plan.anthropic.1 = bedrock::invoke::beta(&doc);
        }
        flight.copy = self.copied(policy, &choice, caller, &budgets, &size, body.len());
        flight.ahead = first.map(|first| ahead::Ahead::new(first, &self.bound, &self.needs, &budgets));
        if self.needs.is_empty() {
            self.trace.note(Stage::Budgets, || "none applies".to_owned());
            let send = self.send(policy, &flight, body.len(), out);
            effects.extend(send);
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

    fn note_parameters(&mut self, api: Api, request: &Request<'_, '_>, body: Value<'_, '_>) {
        let said = |value: Option<Value<'_, '_>>| value.and_then(|value| value.as_str()).map(Cow::into_owned);
        if api == Api::OpenaiEmbeddings {
            if let Some(format) = said(body.get("encoding_format")) {
                self.span.words.push(("gen_ai.request.encoding_formats", format));
            }
            if let Some(count) = body.get("dimensions").and_then(Value::as_i64) {
                self.span.ints.push(("gen_ai.embeddings.dimension.count", count));
            }
            return;
        }
        if api == Api::OpenaiResponses {
            self.span.words.push(("openai.api.type", "responses".to_owned()));
            if let Some(id) = said(body.get("previous_response_id")) {
                self.span.words.push(("gen_ai.request.previous_response.id", id));
            }
            let conversation = body.get("conversation");
            if let Some(id) = said(conversation.and_then(|it| it.get("id")).or(conversation)) {
                self.span.words.push(("gen_ai.conversation.id", id));
            }
        }
        if let Some(max) = request.ceiling() {
            self.span.ints.push(("gen_ai.request.max_tokens", i64::try_from(max).unwrap_or(i64::MAX)));
        }
        let Request::Chat(chat) = request else { return };
        for (name, value) in [
            ("gen_ai.request.temperature", chat.temperature),
            ("gen_ai.request.top_p", chat.top_p),
            ("gen_ai.request.frequency_penalty", chat.frequency_penalty),
            ("gen_ai.request.presence_penalty", chat.presence_penalty),
        ] {
            if let Some(value) = value {
                self.span.floats.push((name, value));
            }
        }
        if let Some(top_k) = chat.top_k {
            self.span.ints.push(("gen_ai.request.top_k", top_k as i64));
        }
        if let Some(level) = said(chat.reasoning_effort) {
            self.span.words.push(("gen_ai.request.reasoning.level", level));
        }
        if let Some(tier) = said(chat.service_tier).filter(|tier| tier != "auto") {
            self.span.words.push(("openai.request.service_tier", tier));
        }
        let format = body.get("text").and_then(|text| text.get("format"));
        if let Some(format) = body.get("response_format").or_else(|| body.get("output_format")).or(format) {
            let text = format.get("type").is_some_and(|kind| kind.is_str("text"));
            self.span.words.push(("gen_ai.output.type", if text { "text" } else { "json" }.to_owned()));
        }
        if let Some(seed) = chat.seed {
            self.span.ints.push(("gen_ai.request.seed", seed));
        }
        if chat.n != 1 {
            self.span.ints.push(("gen_ai.request.choice.count", i64::try_from(chat.n).unwrap_or(i64::MAX)));
        }
        if let Some(stop) = chat.stop {
            let one = stop.as_str().map(Cow::into_owned);
            self.span.stop = match one {
                Some(one) => vec![one],
                None => stop.items().filter_map(|v| v.as_str()).map(Cow::into_owned).take(16).collect(),
            };
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one place gathers what the decision produced")]
    fn plan(
        &mut self,
        policy: &Rc<Policy>,
        choice: &Choice<'_>,
        caller: &Caller,
        api: Api,
        request: &Request<'_, '_>,
        model_at: std::ops::Range<usize>,
        body_len: usize,
        scheme: &str,
        now: Now,
        vault: Option<pii::Vault>,
    ) -> Flight {
        let tries = (policy.config.retry.tries.max(1) as usize).min(SLOTS.len());
        let mut order: Vec<&(usize, &Target)> = choice.targets.iter().cycle().take(tries).collect();
        let cluster = policy.config.lists.as_ref().and_then(|lists| one_cluster(policy, lists, &mut order));
        let legs = order
            .iter()
            .map(|(i, t)| {
                // Converse is asked, unless the target says otherwise or the client's own body can pass.
                let passes = t.invoke
                    || api == Api::BedrockModel
                    || api == Api::BedrockInvoke && bedrock::is_claude(&t.model);
                let bedrock = policy.provider(&t.provider).is_some_and(|p| p.kind == ProviderKind::Bedrock);
                let (provider, model) = (t.provider.clone(), t.model.clone());
                Leg { provider, model, target: *i as u64, invoke: bedrock && passes }
            })
            .collect();
        let targets: Vec<Target> = order.iter().map(|(_, t)| (*t).clone()).collect();
        if let Some(first) = targets.first() {
            self.span.target.clone_from(&first.provider);
            self.span.target_model.clone_from(&first.model);
            self.span.provider = provider_name(policy, &first.provider).to_owned();
        }
        let client_usage = request.include_usage();
        let plan = Plan {
            id: self.span.id.clone(),
            api,
            asked: request.model().to_owned(),
            model_at: (model_at.start as u64, model_at.end as u64),
            stream: request.stream(),
            include_usage: client_usage || (request.stream() && !self.needs.is_empty()),
            created: now.seconds(),
            traceparent: self.span.context.traceparent(),
            tracestate: self.span.tracestate.clone(),
            scheme: scheme.to_owned(),
            body_len: body_len as u64,
            legs,
            needs: self.needs.clone(),
            one_cluster: cluster.is_some(),
            anthropic: Default::default(),
            extra: String::new(),
            limits: (
                policy.config.request_timeout_ms,
                if request.stream() { policy.config.retry.first_byte_ms } else { 0 },
            ),
            stall_ms: policy.config.retry.stall_ms,
            wider: if cluster.is_some() { 0 } else { wider(&targets) },
            repeats: policy.config.retry.budget,
        };
        Flight {
            plan,
            targets,
            cluster,
            client_usage,
            vault,
            answer_set: policy.redaction(caller, false),
            unsearched: policy.may_pass(caller, false),
            answer: Answer::None,
            status: 0,
            report: None,
            provider: false,
            told: None,
            answers: request.answers(),
            left: Vec::new(),
            ahead: None,
            heard: 0,
            silenced: false,
            copy: None,
        }
    }

    /// The effects that send the request on.
    fn send(&self, policy: &Policy, flight: &Flight, old_size: usize, body: Option<Vec<u8>>) -> Vec<Effect> {
        let mut out = Vec::with_capacity(10);
        if let Some(cluster) = &flight.cluster {
            out.push(Effect::SetRequestHeader(CLUSTER, cluster.clone()));
        } else {
            for (slot, leg) in SLOTS.iter().zip(&flight.plan.legs) {
                if let Some(provider) = policy.provider(&leg.provider) {
                    out.push(Effect::State(slot, provider.cluster.clone().into_bytes()));
                }
            }
        }
        out.push(Effect::State(PLAN, flight.plan.encode()));
        if let Some((cluster, copy)) = flight.copy() {
            out.push(Effect::SetRequestHeader(MIRROR, cluster));
            out.push(Effect::SetRequestHeader(COPY, copy));
        }
        // Setting any header makes Envoy choose the route anew, now that the slots are known.
        out.push(Effect::SetRequestHeader("x-envoy-max-retries", (flight.plan.legs.len() - 1).to_string()));
        if flight.plan.legs.len() > 1 {
            let (on, codes) = retry_on(&policy.config.retry.on, flight.plan.wider > 0);
            out.push(Effect::SetRequestHeader("x-envoy-retry-on", on));
            if let Some(codes) = codes {
                out.push(Effect::SetRequestHeader("x-envoy-retriable-status-codes", codes));
            }
        }
        if flight.plan.limits.1 > 0 {
            out.push(Effect::SetRequestHeader(
                "x-envoy-upstream-rq-per-try-timeout-ms",
                flight.plan.limits.1.to_string(),
            ));
        }
        if policy.config.request_timeout_ms > 0 {
            out.push(Effect::SetRequestHeader(
                "x-envoy-upstream-rq-timeout-ms",
                policy.config.request_timeout_ms.to_string(),
            ));
        }
        if let Some(body) = body {
            if body.len() != old_size {
                out.push(Effect::SetRequestHeader("content-length", body.len().to_string()));
            }
            out.push(Effect::RequestBody(body));
        }
        out
    }

    fn response_headers(
        &mut self,
        now: Now,
        headers: &Headers<'_>,
        end: bool,
        origin: Origin<'_>,
        effects: &mut Vec<Effect>,
    ) -> Step {
        let status = headers.get(":status").and_then(|s| s.parse().ok()).unwrap_or(0);
        self.span.status = status;
        let policy = self.policy.clone();
        let State::Sent(flight) = &mut self.state else { return Step::Continue };
        flight.status = status;
        self.span.address = origin.address.to_owned();
        let report = origin.report.and_then(Report::decode).unwrap_or_default();
        flight.heard = now.0;
        // Only a try that got an answer says so; Envoy's own answers follow tries that did not.
        flight.provider = matches!(report.progress, Progress::Answering | Progress::Refused)
            && (status < 400 || origin.details == "via_upstream");
        let attempt = report.attempt.max(origin.attempts);
        self.span.attempts = attempt;
        if attempt > 1 {
            self.span.note(now.0, "weir.retry", "weir.tries", &attempt.to_string());
        }
        let index = report.target(attempt);
        if let (Some(target), Some(policy)) = (flight.targets.get(index), &policy) {
            self.span.target.clone_from(&target.provider);
            self.span.target_model.clone_from(&target.model);
            self.span.provider = provider_name(policy, &target.provider).to_owned();
        }
        self.span.losses.clone_from(&report.losses);
        if flight.plan.api == Api::BedrockModel {
            flight.told = told(headers);
        }
        if report.stalled && status == 504 {
            return self.stalled(report, effects);
        }
        flight.report = Some(report);
        if status >= 400 {
            effects.push(Effect::RemoveResponseHeader(NO_RETRY));
        }
        if status == TOO_LONG {
            // Envoy did not go on: the client reads what the provider said.
            effects.push(Effect::SetResponseHeader(":status", "400".into()));
        }
        if let Some(policy) = &policy
            && policy.config.headers != ShowHeaders::None
        {
            if let Some((budget, model)) = &self.span.downgrade {
                let downgrade = format!("{model}; budget={budget}");
                effects.push(Effect::SetResponseHeader("x-weir-downgrade", downgrade));
            }
            effects.push(Effect::SetResponseHeader("x-weir-request-id", self.span.id.clone()));
            effects.push(Effect::SetResponseHeader("x-weir-policy", policy.config.version.clone()));
            if policy.config.headers == ShowHeaders::Reasons {
                let why = format!("{}:{} attempt {attempt}", self.span.target, self.span.target_model);
                effects.push(Effect::SetResponseHeader("x-weir-target", why));
            }
        }
        if status >= 400 {
            self.span.error = Some(status.to_string());
        }
        reserve::tell_left(policy.as_deref(), flight, now, effects);
        let kind = headers.get("content-type").unwrap_or_default();
        let encoded = headers.get("content-encoding").is_some_and(|e| !e.eq_ignore_ascii_case("identity"));
        let hide_usage = flight.plan.include_usage && !flight.client_usage;
        // Envoy's configuration puts its own words into OpenAI's shape; a try's words are in the client's own.
        let foreign = (flight.plan.api.anthropic() || flight.plan.api.aws())
            && !matches!(origin.details, "" | "weir" | "via_upstream");
        flight.answer = if !flight.provider && status >= 400 && (foreign || !openai_error(kind)) {
            // Envoy's own words, put into the client's dialect.
            effects.push(Effect::SetResponseHeader("content-type", "application/json".into()));
            effects.push(Effect::RemoveResponseHeader("content-length"));
            if flight.plan.api.aws() {
                let (status, class) = bedrock::class_of(status, "server_error", None);
                effects.push(Effect::SetResponseHeader(":status", status.to_string()));
                effects.push(Effect::SetResponseHeader(ERROR_TYPE, class.to_owned()));
                effects.push(Effect::SetResponseHeader("x-amzn-requestid", flight.plan.id.clone()));
            }
            Answer::Local(local(flight.plan.api, status, origin.details))
        } else if encoded || end {
            Answer::Opaque(end)
        } else if flight.answer_set.is_some() && !Answer::reads(flight.plan.api, kind) {
            Answer::Opaque(false)
        } else {
            // What is counted is what this try's own model says.
            let tokenizer = flight.targets.get(index).and_then(|target| target.tokenizer.as_deref());
            let treatment = Treatment {
                vault: flight.vault.take().map(Rc::new),
                set: flight.answer_set.clone(),
                hide_usage,
                vocabulary: tokenizer.and_then(Vocabulary::from_name),
                ends_early: flight.ahead.is_some(),
                unsearched: flight.unsearched,
            };
            Answer::new(flight.plan.api, kind, treatment)
        };
        if flight.answer_set.is_some() && matches!(flight.answer, Answer::Opaque(false)) {
            // What cannot be read cannot be masked.
            if flight.unsearched {
                self.span.note(now.0, "weir.redaction", "weir.unsearched", "answer");
            } else {
                let refusal = Refusal::server(
                    if status >= 400 { status } else { 502 },
                    "answer_unreadable",
                    "the provider's answer cannot be searched for what the policy hides, and is not let through",
                );
                let reply = refusal.reply(flight.plan.api);
                effects.push(Effect::SetResponseHeader(":status", reply.status.to_string()));
                for (name, value) in reply.headers {
                    effects.push(Effect::SetResponseHeader(name, value));
                }
                effects.push(Effect::RemoveResponseHeader("content-length"));
                effects.push(Effect::RemoveResponseHeader("content-encoding"));
                self.span.error = Some("answer_unreadable".into());
                flight.answer = Answer::Local(reply.body);
            }
        }
        if end {
            if let Answer::Local(body) = std::mem::replace(&mut flight.answer, Answer::Opaque(true)) {
                effects.push(Effect::ResponseBody(body));
            }
        } else if flight.answer.changes() {
            effects.push(Effect::RemoveResponseHeader("content-length"));
        }
        Step::Continue
    }

    fn response_body(&mut self, now: Now, chunk: &[u8], end: bool, effects: &mut Vec<Effect>) -> Step {
        let State::Sent(flight) = &mut self.state else { return Step::Continue };
        if !chunk.is_empty() {
            match self.span.first_chunk {
                None => self.span.first_chunk = Some(now.0.saturating_sub(self.span.start)),
                Some(_) => self.span.pace.piece(now.0),
            }
            self.span.pace.last = now.0;
            flight.heard = now.0;
        }
        if flight.silenced {
            // The client has been told: what comes late is nobody's, and the cut is under way.
            effects.push(Effect::ResponseBody(Vec::new()));
            return Step::Continue;
        }
        let over = flight.ahead.as_ref().is_some_and(|ahead| ahead.over);
        match flight.answer.push(chunk, end) {
            Ok(Some(_)) if over => {
                // Told the end with the piece before this one: now the provider is cut off.
                effects.push(Effect::ResponseBody(Vec::new()));
                if !end {
                    effects.push(Effect::Cut);
                }
            }
            Ok(Some(mut bytes)) => {
                bytes.extend(self.keep_ahead(now, effects).unwrap_or_default());
                effects.push(Effect::ResponseBody(bytes));
            }
            Ok(None) => {}
            Err(Cut { last }) => {
                // The client reads why before the stream is cut at the next piece.
                effects.push(Effect::ResponseBody(last));
                self.span.error = Some("answer_too_large".into());
            }
        }
        Step::Continue
    }

    fn done(&mut self, now: Now, report: Option<&[u8]>, details: &str, effects: &mut Vec<Effect>) -> Step {
        self.span.end = now.0;
        let report = report.and_then(Report::decode);
        match std::mem::replace(&mut self.state, State::Over) {
            State::Over => return Step::Continue,
            State::Sent(mut flight) => {
                let report = report.or_else(|| flight.report.take()).unwrap_or_default();
                self.settle(&flight, &report, details, effects);
            }
            State::Passing => {}
            State::Fresh | State::Body(_) | State::Reserving(..) => {
                // The client went before it was answered; nothing was sent and nothing is billed.
                self.span.error.get_or_insert_with(|| "client_gone".into());
            }
            State::Refused => {}
        }
        if !self.span.operation.is_empty() {
            effects.push(Effect::State(record::RECORD, record::encode(&self.span)));
            effects.push(Effect::Emit(Box::new(std::mem::take(&mut self.span))));
        }
        Step::Continue
    }
}

fn applied(edits: &weir_wire::splice::Splices, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    edits.apply(body).map_err(|e| {
        Refusal::server(
            500,
            "edit_failed",
            format!("the body could not be edited ({e}): report this request's id"),
        )
    })
}

/// Whether the host's reason for a stream's end is the client's going: a closed connection or a reset HTTP/2 stream.
fn client_left(details: &str) -> bool {
    !details.starts_with("upstream")
        && (details.is_empty() || contains(details, "downstream") || contains(details, "remote_reset"))
}

/// The one cluster for all tries: that of the longest list with which they begin, or of the first provider alone.
/// Targets at providers that are not in it are left out.
fn one_cluster(policy: &Policy, lists: &[List], order: &mut Vec<&(usize, &Target)>) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    for (_, target) in order.iter() {
        if !names.contains(&target.provider) {
            names.push(target.provider.clone());
        }
    }
    let list =
        (2..=names.len()).rev().find_map(|n| lists.iter().find(|l| names.get(..n) == Some(&l.providers)));
    names.truncate(list.map_or(1, |l| l.providers.len()));
    order.retain(|(_, target)| names.contains(&target.provider));
    match list {
        Some(list) => Some(list.cluster.clone()),
        None => policy.provider(names.first()?).map(|p| p.cluster.clone()),
    }
}

/// The version and the betas that a client of Anthropic's API asks for, where they are words that a header may have.
fn asked_of_anthropic(headers: &Headers<'_>) -> (String, String) {
    let word = |name: &str| {
        let usable = |v: &&str| v.len() <= 1024 && v.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        headers.get(name).filter(usable).unwrap_or_default().to_owned()
    };
    (word("anthropic-version"), word("anthropic-beta"))
}

/// What InvokeModel says in headers of the tokens billed: of a model's own dialect there is no other word.
fn told(headers: &Headers<'_>) -> Option<Usage> {
    let count =
        |name: &str| headers.get(&["x-amzn-bedrock-", name, "-token-count"].concat())?.parse::<u64>().ok();
    let (cache_read, cache_write) =
        (count("cache-read-input").unwrap_or(0), count("cache-write-input").unwrap_or(0));
    let input = count("input")?.saturating_add(cache_read).saturating_add(cache_write);
    Some(Usage { input, output: count("output").unwrap_or(0), cache_read, cache_write, reasoning: 0 })
}

/// The headers of InvokeModel that Bedrock reads, as lines.
fn asked_of_bedrock(headers: &Headers<'_>) -> String {
    let mut out = String::new();
    for (name, value) in headers.0 {
        let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) else { continue };
        let usable = value.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if name.starts_with("x-amzn-bedrock-") && usable && out.len() + value.len() < 8192 {
            out.push_str(&[name, ": ", value, "\n"].concat());
        }
    }
    out
}

/// The caller's trace state, which may stand in several fields; what is absurdly long is left out.
fn tracestate(headers: &Headers<'_>) -> String {
    let mut out = String::new();
    for state in headers.all("tracestate").filter_map(|state| std::str::from_utf8(state).ok()) {
        if out.len() + state.len() < 4096 {
            if !out.is_empty() {
                out.push(',');
            }
            out.push_str(state);
        }
    }
    out
}

/// Removes what a client must not say to this gateway or to a provider.
fn strip(headers: &Headers<'_>, also: &[&'static str], effects: &mut Vec<Effect>) {
    for (name, _) in headers.0 {
        if name.starts_with(b"x-weir-") || name.starts_with(b"x-envoy-") {
            effects.push(Effect::RemoveRequestHeader(Cow::Owned(String::from_utf8_lossy(name).into_owned())));
        }
    }
    for name in also {
        if headers.bytes(name).is_some() {
            effects.push(Effect::RemoveRequestHeader(Cow::Borrowed(name)));
        }
    }
}

/// Bit by target: the one after it has a larger window.
fn wider(targets: &[Target]) -> u64 {
    let pairs = targets.iter().zip(targets.iter().skip(1)).enumerate();
    let larger = pairs.filter(|(at, (one, next))| *at < 64 && one.context > 0 && next.context > one.context);
    larger.map(|(at, _)| 1 << at).sum()
}

/// The policy's words for Envoy: its `x-envoy-retry-on` conditions, and its retriable status codes.
fn retry_on(on: &[String], wider: bool) -> (String, Option<String>) {
    let mut conditions: Vec<&str> = Vec::new();
    let mut codes = String::new();
    for word in on {
        match word.as_str() {
            "connect" => conditions.push("connect-failure"),
            "reset" => conditions.push("reset"),
            "5xx" => conditions.push("5xx"),
            "429" => {
                // 529 is what Anthropic says when it, not the client, has too much.
                codes.push_str("429,529");
            }
            _ => {}
        }
    }
    if wider {
        codes.push_str(if codes.is_empty() { "" } else { "," });
        codes.push_str(&TOO_LONG.to_string());
    }
    if !codes.is_empty() {
        conditions.push("retriable-status-codes");
    }
    (conditions.join(","), (!codes.is_empty()).then_some(codes))
}

/// `gen_ai.provider.name`. vLLM has no value of its own in the registry: its API's name stands for it.
fn provider_name<'p>(policy: &'p Policy, name: &str) -> &'p str {
    match policy.provider(name).map(|p| p.kind) {
        Some(ProviderKind::Bedrock | ProviderKind::BedrockOpenai) => "aws.bedrock",
        Some(ProviderKind::Anthropic) => "anthropic",
        _ => "openai",
    }
}

fn openai_error(content_type: &str) -> bool {
    content_type.starts_with("application/json")
}

/// Envoy's own refusal in the client's dialect.
fn local(api: Api, status: u16, details: &str) -> Vec<u8> {
    let (code, message) = match status {
        503 => ("provider_unavailable", "no provider could be reached: try again in a moment"),
        504 => ("provider_timeout", "no provider answered in time: try again"),
        408 => ("request_timeout", "the request did not arrive in time"),
        413 => ("request_too_large", "the request is too large"),
        _ => ("gateway_error", "the gateway could not serve the request"),
    };
    let message = if details.is_empty() { message.to_owned() } else { format!("{message} ({details})") };
    if api.aws() {
        return bedrock::error(Some(code), &message, None);
    }
    if api.anthropic() {
        return anthropic::error(status, Some(code), &message, None);
    }
    openai_chat::error(
        status,
        if status < 500 { "invalid_request_error" } else { "server_error" },
        Some(code),
        &message,
        None,
    )
}
