//! Any policy that can be held can be written and read back as itself: every organ, every choice, any text.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_config::policy::*;
use weir_model::parse;

/// Makes values from a seed (splitmix64). A shrunk seed says nothing, so none is sought.
struct Gen(u64);

impl Gen {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Gen) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| make(self))
    }

    fn list<T>(&mut self, make: impl Fn(&mut Gen) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| make(self)).collect()
    }

    fn many<T>(&mut self, make: impl Fn(&mut Gen) -> T) -> Many<T> {
        Many(self.list(make))
    }

    /// Text that readers like to take for something else.
    fn text(&mut self) -> String {
        const HARD: &[&str] = &[
            "",
            "a",
            "null",
            "true",
            "no",
            "42",
            "1e3",
            "0.5",
            "-",
            "~",
            "2099-01-01",
            "a: b",
            "{x}",
            "[y]",
            "# z",
            "*a",
            "&b",
            "!c",
            "%d",
            "@e",
            "`f`",
            "'",
            "\"",
            "\\",
            "\n",
            "\t",
            "\r\n",
            " ",
            "é",
            "日本",
            "😀",
            "\u{7f}",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\u{0}",
            "---",
            "...",
            "<<",
            "key.with[odd]\"path",
        ];
        (0..1 + self.below(3)).map(|_| self.pick(HARD)).collect()
    }

    fn count(&mut self) -> Count {
        let bits = self.below(64);
        Count(self.next() >> bits)
    }

    fn duration(&mut self) -> Duration {
        Duration { ms: self.count().0 }
    }

    fn when(&mut self) -> When {
        let labels = self.list(|g| (g.text(), g.many(Gen::text)));
        When {
            tenant: self.many(Gen::text),
            key: self.many(Gen::text),
            model: self.many(Gen::text),
            labels: labels.into_iter().collect(),
            found: self.many(Gen::text),
            input_tokens: self.maybe(|g| Range { min: g.maybe(Gen::count), max: g.maybe(Gen::count) }),
            tools: self.maybe(|g| g.pick(&[true, false])),
            response_format: self.many(Gen::text),
        }
    }

    fn labels(&mut self) -> BTreeMap<String, String> {
        self.list(|g| (g.text(), g.text())).into_iter().collect()
    }

    fn window(&mut self) -> Window {
        use WindowKeyword::*;
        match self.below(2) {
            0 => Window::Rolling(self.duration()),
            _ => Window::Calendar(self.pick(&[Minute, Hour, Day, Week, Month])),
        }
    }

    fn secret(&mut self) -> Secret {
        let text = self.text();
        self.pick(&[Secret::Env, Secret::File, Secret::Secret])(text)
    }

    fn provider(&mut self) -> Provider {
        use ProviderKind::*;
        Provider {
            name: self.text(),
            kind: self.pick(&[Vllm, Openai, Anthropic, Bedrock, BedrockOpenai]),
            region: self.maybe(Gen::text),
            endpoints: self.list(Gen::text),
            endpoint: self.maybe(Gen::text),
            balance: self.maybe(|g| g.pick(&[Balance::Prefix, Balance::LeastRequest, Balance::RoundRobin])),
            auth: self.maybe(|g| match g.below(2) {
                0 => Auth::Aws(AwsAuth::Default),
                _ => Auth::Bearer(g.secret()),
            }),
            on_abort: self.maybe(|g| g.pick(&[OnAbort::Stops, OnAbort::BillsAll])),
            cache_salt: self.maybe(Gen::secret),
            request_metadata: self.many(Gen::text),
        }
    }

    fn target(&mut self) -> Target {
        use Feature::*;
        let price = |g: &mut Gen| UsdPerMillion { pico: g.count().0 };
        Target {
            provider: self.text(),
            model: self.text(),
            api: self.maybe(|g| g.pick(&[TargetApi::Converse, TargetApi::Invoke])),
            priority: self.maybe(|g| g.next() as u32),
            weight: self.maybe(|g| g.next() as u32),
            tokenizer: self.maybe(Gen::text),
            bound: self.maybe(|g| g.pick(&[TokenBound::Proven, TokenBound::Calibrated])),
            context: self.maybe(Gen::count),
            supports: self.many(|g| g.pick(&[Tools, JsonSchema, Images, Documents, Audio, Reasoning])),
            price: self.many(|g| Price {
                from: g.maybe(|g| Date { unix: g.below(253_402_300_800) }),
                input: price(g),
                output: price(g),
                cache_read: g.maybe(price),
                cache_write: g.maybe(price),
                reasoning: g.maybe(price),
                tiers: g
                    .list(|g| {
                        let tier = TierPrice {
                            input: price(g),
                            output: price(g),
                            cache_read: g.maybe(price),
                            cache_write: g.maybe(price),
                            reasoning: g.maybe(price),
                        };
                        (g.text(), tier)
                    })
                    .into_iter()
                    .collect(),
            }),
            service_tier: self.maybe(|g| {
                g.pick(&[
                    ServiceTier::Default,
                    ServiceTier::Flex,
                    ServiceTier::Priority,
                    ServiceTier::Reserved,
                ])
            }),
            quota: self.maybe(|g| Quota {
                tokens: g.maybe(Gen::count),
                requests: g.maybe(Gen::count),
                window: g.maybe(Gen::window),
            }),
            cache_prefix: self.maybe(|g| CachePrefix { min_tokens: g.maybe(Gen::count) }),
        }
    }

    fn source(&mut self) -> IdentitySource {
        match self.below(4) {
            0 => IdentitySource::ApiKey(ApiKey { header: self.text(), scheme: self.maybe(Gen::text) }),
            1 => IdentitySource::Sigv4(Sigv4 {}),
            2 => IdentitySource::Mtls(Mtls {}),
            _ => IdentitySource::Jwt(Jwt {
                issuer: self.text(),
                jwks: self.text(),
                tenant: self.maybe(Gen::text),
                labels: self.many(Gen::text),
            }),
        }
    }

    fn key(&mut self) -> Key {
        Key {
            // A text that is nothing cannot stand without quotes, and with them it can.
            id: self.text(),
            sha256: self.text(),
            labels: self.labels(),
            expires: self.maybe(|g| Date { unix: g.below(253_402_300_800) }),
        }
    }

    fn tenant(&mut self) -> Tenant {
        Tenant {
            name: self.text(),
            workloads: self.many(Gen::text),
            keys: self.list(Gen::key),
            models: self.many(Gen::text),
            labels: self.labels(),
            limits: self.maybe(|g| Limits {
                max_input_tokens: g.maybe(Gen::count),
                max_output_tokens: g.maybe(Gen::count),
            }),
        }
    }

    fn budget(&mut self) -> Budget {
        Budget {
            name: self.text(),
            when: self.when(),
            each: self.many(Gen::text),
            limit: BudgetLimit {
                tokens: self.maybe(Gen::count),
                requests: self.maybe(Gen::count),
                usd: self.maybe(|g| Usd { nano: g.count().0 }),
            },
            window: self.window(),
            mode: self.maybe(|g| g.pick(&[BudgetMode::Hard, BudgetMode::Soft])),
            alert_at: self.many(|g| Percent { hundredths: g.count().0 }),
            exceeded: self.maybe(|g| Exceeded { to: g.text() }),
            when_short: self.maybe(|g| WhenShort { min_output: g.maybe(Gen::count) }),
            wait: self.maybe(Gen::duration),
            ledger_lost: self.maybe(|g| g.pick(&[LedgerLost::Deny, LedgerLost::AllowLocal])),
            unbounded: self.maybe(|g| g.pick(&[Unbounded::Deny, Unbounded::Allow])),
            reserve: self.maybe(|g| g.pick(&[Reserve::Full, Reserve::Progressive])),
        }
    }

    fn redaction(&mut self) -> Redaction {
        use Action::*;
        Redaction {
            name: self.text(),
            when: self.when(),
            find: self.many(Gen::text),
            words: self.many(Gen::text),
            patterns: self.many(Gen::text),
            key: self.maybe(Gen::secret),
            action: self.pick(&[Report, Tokenize, Hash, Mask, Block]),
            within: self.many(Gen::direction),
            on_failure: self.maybe(Gen::on_failure),
        }
    }

    fn direction(&mut self) -> Direction {
        self.pick(&[Direction::Request, Direction::Response])
    }

    fn on_failure(&mut self) -> OnFailure {
        self.pick(&[OnFailure::Deny, OnFailure::Pass])
    }

    fn gateway(&mut self) -> Gateway {
        Gateway {
            listen: self.maybe(Gen::text),
            tls: self.maybe(|g| Tls { cert: g.text(), key: g.text(), client_ca: g.maybe(Gen::text) }),
            max_body: self.maybe(|g| Size(g.count().0)),
            request_timeout: self.maybe(Gen::duration),
            unknown_paths: self.maybe(|g| g.pick(&[UnknownPaths::Deny, UnknownPaths::Pass])),
            headers: self.maybe(|g| g.pick(&[Headers::None, Headers::Ids, Headers::Reasons])),
        }
    }

    fn route(&mut self) -> Route {
        let mirror = |g: &mut Gen| Mirror { provider: g.text(), model: g.text(), percent: g.next() as u32 };
        let to = Use {
            model: self.text(),
            fallback: self.maybe(|g| g.pick(&[true, false])),
            mirror: self.maybe(mirror),
        };
        Route { name: self.text(), when: self.when(), to }
    }

    fn policy(&mut self) -> Policy {
        let tools = |g: &mut Gen| ToolRule { allow: g.many(Gen::text), deny: g.many(Gen::text) };
        Policy {
            api_version: ApiVersion::V1,
            enforce: self.maybe(|g| g.pick(&[true, false])),
            timezone: self.maybe(Gen::text),
            gateway: self.maybe(Gen::gateway),
            providers: self.list(Gen::provider),
            models: self.list(|g| Model {
                name: g.text(),
                aliases: g.many(Gen::text),
                targets: g.list(Gen::target),
            }),
            prices: self.maybe(Gen::text),
            boundaries: self.list(|g| Boundary {
                name: g.text(),
                when: g.when(),
                providers: g.many(Gen::text),
                regions: g.many(Gen::text),
                tools: g.maybe(tools),
            }),
            routes: self.list(Gen::route),
            retry: self.maybe(|g| Retry {
                tries: g.maybe(|g| g.next() as u32),
                on: g.many(|g| g.pick(&RetryOn::ALL)),
                first_byte: g.maybe(Gen::duration),
                stall: g.maybe(Gen::duration),
                budget: g.maybe(|g| Percent { hundredths: g.count().0 }),
            }),
            identity: self.maybe(|g| Identity {
                from: g.list(Gen::source),
                anonymous: g.maybe(Gen::text),
                client_labels: g.many(Gen::text),
            }),
            tenants: self.list(Gen::tenant),
            budgets: self.list(Gen::budget),
            ledger: self.maybe(|g| Ledger {
                engine: g.maybe(|_| Engine::Embedded),
                redis: g.many(Gen::text),
                wait_replicas: g.maybe(|g| g.next() as u32),
            }),
            redaction: self.list(Gen::redaction),
            guardrails: self.list(|g| Guardrail {
                name: g.text(),
                when: g.when(),
                bedrock: g.maybe(|g| BedrockGuardrail {
                    provider: g.text(),
                    id: g.text(),
                    version: g.text(),
                }),
                analyzer: g.maybe(|g| Analyzer {
                    url: g.text(),
                    find: g.many(Gen::text),
                    action: g.pick(&[
                        Action::Tokenize,
                        Action::Mask,
                        Action::Block,
                        Action::Report,
                        Action::Hash,
                    ]),
                    key: g.maybe(Gen::secret),
                    language: g.maybe(Gen::text),
                    score: g.maybe(|g| Percent { hundredths: g.count().0 }),
                    region: g.maybe(Gen::text),
                    max_text: g.maybe(|g| Size(g.count().0)),
                    parallel: g.maybe(|g| g.next() as u32),
                }),
                within: g.many(Gen::direction),
                timeout: g.maybe(Gen::duration),
                on_failure: g.maybe(Gen::on_failure),
            }),
            prompts: self.list(|g| Prompt {
                name: g.text(),
                when: g.when(),
                place: g.maybe(|g| g.pick(&[Place::Before, Place::After, Place::Replace])),
                versions: g.list(|g| PromptVersion {
                    id: g.next(),
                    weight: g.maybe(|g| g.next() as u32),
                    system: g.text(),
                }),
            }),
            context: self.list(|g| Context {
                name: g.text(),
                when: g.when(),
                max_input_tokens: g.maybe(Gen::count),
                drop: g.maybe(|_| Drop::OldestTurns),
                dedupe: g.maybe(|g| g.pick(&[true, false])),
            }),
            validate: self.list(|g| Validate {
                name: g.text(),
                when: g.when(),
                on_invalid: g.maybe(|g| OnInvalid { retry: g.maybe(|g| g.next() as u32) }),
                streams: g.maybe(|g| g.pick(&[Streams::Report, Streams::Hold])),
            }),
            notify: self.list(|g| Notify {
                webhook: g.text(),
                on: g.many(|g| {
                    use NotifyOn::*;
                    g.pick(&[Budget, Nack, GuardFailure, Unpriced])
                }),
            }),
            telemetry: self.maybe(|g| Telemetry {
                otlp: g.maybe(Gen::text),
                otlp_protocol: g.maybe(|g| g.pick(&[OtlpProtocol::Grpc, OtlpProtocol::HttpProtobuf])),
                sample: g.maybe(|g| Percent { hundredths: g.count().0 }),
                sample_above: g.maybe(|g| SampleAbove { usd: Usd { nano: g.count().0 } }),
                content: g.maybe(|g| g.pick(&[Content::None, Content::Redacted])),
                count: g.maybe(|g| g.pick(&[Counting::Lazy, Counting::Always])),
                labels: g.many(Gen::text),
                end_user: g.maybe(|g| EndUser { header: g.maybe(Gen::text), key: g.secret() }),
                retrieval: g.maybe(|g| g.pick(&[true, false])),
                decisions: g.maybe(|g| Decisions {
                    file: g.text(),
                    when: g.when(),
                    on_failure: g.maybe(Gen::on_failure),
                }),
            }),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_as_json_is_read_as_itself(seed: u64) {
        let policy = Gen(seed).policy();
        let compact = serde_json::to_string(&policy).unwrap();
        prop_assert!(parse(&compact) == Ok(policy.clone()), "{:?}", parse(&compact).map(|_| &compact));
        let pretty = serde_json::to_string_pretty(&policy).unwrap();
        prop_assert!(parse(&pretty) == Ok(policy.clone()), "{:?}", parse(&pretty).map(|_| &pretty));
        // The readers of the REST API and of Kubernetes resources go by serde alone.
        let plain: Policy = serde_json::from_str(&compact).unwrap();
        prop_assert_eq!(plain, policy);
    }

    #[test]
    fn what_is_written_as_json_is_read_as_itself_by_yaml(seed: u64) {
        let policy = Gen(seed).policy();
        // A comment makes it YAML.
        let text = format!("# a policy\n{}", serde_json::to_string_pretty(&policy).unwrap());
        prop_assert!(parse(&text) == Ok(policy.clone()), "{:?}", parse(&text).map(|_| &text));
    }

    #[test]
    fn checking_listing_and_comparing_any_policy_ends_without_a_panic(seed: u64) {
        let (old, new) = (Gen(seed).policy(), Gen(!seed).policy());
        let problems = weir_model::validate(&old);
        prop_assert!(problems.iter().all(|problem| !problem.message.is_empty()));
        weir_model::unbuilt(&old);
        weir_model::diff(&old, &new);
        prop_assert!(weir_model::diff(&old, &old).is_empty());
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(apiVersion: weir.dev/v1\n)?[\\PC\n\t]{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_damage_to_a_good_policy_makes_the_reader_panic(at: prop::sample::Index, junk in "[\\PC\n]{0,3}", cut in 0usize..4) {
        let good = include_str!("../../../envoy/first.yaml");
        let mut chars: Vec<char> = good.chars().collect();
        let at = at.index(chars.len());
        chars.splice(at..(at + cut).min(chars.len()), junk.chars());
        let text: String = chars.into_iter().collect();
        match weir_model::read(&text) {
            Ok(document) => { document.check(); document.unbuilt(); }
            Err(problems) => prop_assert!(!problems.is_empty() && problems.iter().all(|problem| problem.line > 0)),
        }
    }
}
