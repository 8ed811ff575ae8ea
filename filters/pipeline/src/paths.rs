//! Which API a request speaks, by its path. Nothing else of the request is looked at here.

use weir_sorted::contains;

/// An API that clients may speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Api {
    /// `POST /v1/chat/completions`.
    #[default]
    OpenaiChat = 1,
    /// `POST /v1/completions`.
    OpenaiCompletions = 2,
    /// `GET /v1/models`, answered here.
    Models = 3,
    /// `POST /v1/messages`.
    AnthropicMessages = 4,
    /// `POST /v1/messages/count_tokens`, answered here where the count is exact.
    AnthropicCount = 5,
    /// `POST /v1/responses`.
    OpenaiResponses = 6,
    /// `POST /v1/embeddings`.
    OpenaiEmbeddings = 7,
    /// `POST /model/{id}/converse` and `/converse-stream`.
    BedrockConverse = 10,
    /// `POST /model/{id}/invoke` and `/invoke-with-response-stream` with a body of Anthropic's.
    BedrockInvoke = 11,
    /// The same with a body in another model's own dialect.
    BedrockModel = 12,
}

const ALL: [Api; 10] = [
    Api::OpenaiChat,
    Api::OpenaiCompletions,
    Api::Models,
    Api::AnthropicMessages,
    Api::AnthropicCount,
    Api::OpenaiResponses,
    Api::OpenaiEmbeddings,
    Api::BedrockConverse,
    Api::BedrockInvoke,
    Api::BedrockModel,
];

impl Api {
    /// The API of a code made by `as u64`.
    pub fn from_code(code: u64) -> Option<Self> {
        ALL.into_iter().find(|a| *a as u64 == code)
    }

    /// The dialect in which whoever asks for this path understands errors: OpenAI's for want of a better.
    pub fn of_path(path: &str) -> Self {
        if path.starts_with("/model/") {
            return Self::BedrockConverse;
        }
        let anthropic = path.starts_with("/v1/messages") || path.starts_with("/anthropic/");
        if anthropic { Self::AnthropicMessages } else { Self::OpenaiChat }
    }

    /// It is AWS's: model and streaming are in the path, streams are frames.
    pub fn aws(self) -> bool {
        matches!(self, Self::BedrockConverse | Self::BedrockInvoke | Self::BedrockModel)
    }

    /// Bodies are Anthropic's messages.
    pub fn messages(self) -> bool {
        self.anthropic() || self == Self::BedrockInvoke
    }

    /// It is Anthropic's.
    pub fn anthropic(self) -> bool {
        matches!(self, Self::AnthropicMessages | Self::AnthropicCount)
    }

    /// `gen_ai.operation.name`; empty where no model is asked.
    pub fn operation(self) -> &'static str {
        match self {
            Self::Models => "",
            Self::OpenaiChat
            | Self::OpenaiResponses
            | Self::AnthropicMessages
            | Self::AnthropicCount
            | Self::BedrockConverse
            | Self::BedrockInvoke => "chat",
            Self::BedrockModel => "generate_content",
            Self::OpenaiCompletions => "text_completion",
            Self::OpenaiEmbeddings => "embeddings",
        }
    }

    /// The API's own path.
    pub fn path(self) -> &'static str {
        match self {
            Self::OpenaiChat => "/v1/chat/completions",
            Self::OpenaiCompletions => "/v1/completions",
            Self::Models => "/v1/models",
            Self::AnthropicMessages => "/v1/messages",
            Self::AnthropicCount => "/v1/messages/count_tokens",
            Self::OpenaiResponses => "/v1/responses",
            Self::OpenaiEmbeddings => "/v1/embeddings",
            Self::BedrockConverse => "/model/{id}/converse",
            Self::BedrockInvoke | Self::BedrockModel => "/model/{id}/invoke",
        }
    }
}

/// What a path of Bedrock's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Converse, or InvokeModel with whatever body.
    pub api: Api,
    /// The model, decoded.
    pub model: String,
    /// A streamed answer is asked.
    pub stream: bool,
}

impl Named {
    /// Reads `/model/{id}/{operation}`.
    pub fn read(path: &str) -> Option<Self> {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let (id, operation) = path.strip_prefix("/model/")?.split_once('/')?;
        let (api, stream) = match operation {
            "converse" => (Api::BedrockConverse, false),
            "converse-stream" => (Api::BedrockConverse, true),
            "invoke" => (Api::BedrockInvoke, false),
            "invoke-with-response-stream" => (Api::BedrockInvoke, true),
            _ => return None,
        };
        // The longest id that Bedrock takes, each byte of it escaped.
        if id.is_empty() || id == "." || id == ".." || id.len() > 3 * 2048 {
            return None;
        }
        let mut model = Vec::with_capacity(id.len());
        let mut rest = id.bytes();
        while let Some(byte) = rest.next() {
            model.push(match byte {
                b'%' => {
                    let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                    u8::try_from(digit()? * 16 + digit()?).ok()?
                }
                byte => byte,
            });
        }
        let model = String::from_utf8(model).ok()?;
        (!model.bytes().any(|byte| byte < b' ')).then_some(Self { api, model, stream })
    }
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// An API that is served.
    Served(Api),
    /// A served path with another method; this one is allowed.
    Method(&'static str),
    /// A path of an LLM API that is not served.
    Unserved,
    /// No path of any LLM API.
    Unknown,
}

/// For error texts.
pub const SERVED: &str = "POST /v1/chat/completions, POST /v1/responses, POST /v1/completions, POST /v1/embeddings, POST /v1/messages, POST /v1/messages/count_tokens, POST /model/{id}/converse, /converse-stream, /invoke and /invoke-with-response-stream, GET /v1/models";

// Whatever a policy says of unknown paths, these never pass: they carry prompts.
const LLM_PREFIXES: [&str; 22] = [
    "/v1/chat",
    "/v1/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/models",
    "/v1/files",
    "/v1/uploads",
    "/v1/batches",
    "/v1/audio",
    "/v1/images",
    "/v1/videos",
    "/v1/realtime",
    "/v1/assistants",
    "/v1/threads",
    "/v1/moderations",
    "/v1/fine_tuning",
    "/v1/vector_stores",
    "/v1/messages",
    "/v1/complete",
    "/model/",
    "/openai/",
    "/anthropic/",
];

/// Classifies a request by method and path; a query string does not matter.
pub fn classify(method: &str, path: &str) -> Path {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if path.starts_with("/model/") {
        return match Named::read(path) {
            Some(named) if method == "POST" => Path::Served(named.api),
            Some(_) => Path::Method("POST"),
            None => Path::Unserved,
        };
    }
    for api in ALL {
        if path == api.path() {
            let allowed = if api == Api::Models { "GET" } else { "POST" };
            return if method == allowed { Path::Served(api) } else { Path::Method(allowed) };
        }
    }
    // A path that an upstream might normalise into one of ours is judged as one of theirs.
    let odd = contains(path, "//") || contains(path, "/.") || path.contains('%') || path.contains('\\');
    let lower = path.to_ascii_lowercase();
    if LLM_PREFIXES.iter().any(|p| lower.starts_with(p)) || (odd && contains(&lower, "v1")) {
        return Path::Unserved;
    }
    Path::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_id_is_decoded_once() {
        for (id, model) in [
            ("us.amazon.nova-lite-v1%3A0", "us.amazon.nova-lite-v1:0"),
            ("us.amazon.nova-lite-v1:0", "us.amazon.nova-lite-v1:0"),
            (
                "arn%3Aaws%3Abedrock%3AR%3AA%3Ainference-profile%2Fx",
                "arn:aws:bedrock:R:A:inference-profile/x",
            ),
            ("a%253A", "a%3A"),
        ] {
            let named = Named::read(&format!("/model/{id}/converse-stream")).unwrap();
            assert_eq!((named.model.as_str(), named.stream), (model, true));
        }
        assert_eq!(Named::read("/model/a%0A/converse"), None);
    }

    #[test]
    fn paths_are_told_apart() {
        for (method, path, expected) in [
            ("POST", "/v1/chat/completions", Path::Served(Api::OpenaiChat)),
            ("POST", "/v1/chat/completions?x=1", Path::Served(Api::OpenaiChat)),
            ("GET", "/v1/chat/completions", Path::Method("POST")),
            ("POST", "/v1/completions", Path::Served(Api::OpenaiCompletions)),
            ("POST", "/v1/responses", Path::Served(Api::OpenaiResponses)),
            ("GET", "/v1/responses/resp_1", Path::Unserved),
            ("POST", "/v1/responses/input_tokens", Path::Unserved),
            ("POST", "/v1/embeddings", Path::Served(Api::OpenaiEmbeddings)),
            ("GET", "/v1/models", Path::Served(Api::Models)),
            ("DELETE", "/v1/models", Path::Method("GET")),
            ("POST", "/v1/messages", Path::Served(Api::AnthropicMessages)),
            ("POST", "/v1/messages?beta=true", Path::Served(Api::AnthropicMessages)),
            ("POST", "/v1/messages/count_tokens", Path::Served(Api::AnthropicCount)),
            ("GET", "/v1/messages", Path::Method("POST")),
            ("POST", "/v1/messages/batches", Path::Unserved),
            ("POST", "/v1/complete", Path::Unserved),
            ("POST", "/V1/Chat/Completions", Path::Unserved),
            ("POST", "//v1/chat/completions", Path::Unserved),
            ("POST", "/x/../v1/chat/completions", Path::Unserved),
            ("POST", "/%761/chat/completions", Path::Unknown),
            ("POST", "/model/x/converse", Path::Served(Api::BedrockConverse)),
            ("POST", "/model/a%3A0/converse-stream?x=1", Path::Served(Api::BedrockConverse)),
            ("POST", "/model/arn%3Aaws%2Fx/invoke", Path::Served(Api::BedrockInvoke)),
            ("POST", "/model/a:0/invoke-with-response-stream", Path::Served(Api::BedrockInvoke)),
            ("GET", "/model/x/converse", Path::Method("POST")),
            ("POST", "/model//converse", Path::Unserved),
            ("POST", "/model/../converse", Path::Unserved),
            ("POST", "/model/a/b/converse", Path::Unserved),
            ("POST", "/model/%zz/converse", Path::Unserved),
            ("POST", "/model/%ff/converse", Path::Unserved),
            ("POST", "/model/x/count-tokens", Path::Unserved),
            ("POST", "/model/{id}/converse", Path::Served(Api::BedrockConverse)),
            ("GET", "/healthz", Path::Unknown),
            ("GET", "", Path::Unknown),
        ] {
            assert_eq!(classify(method, path), expected, "{method} {path}");
        }
    }
}
