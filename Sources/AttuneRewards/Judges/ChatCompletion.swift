// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneTraining
import Foundation

/// What a server's chat completion says.
package struct ChatCompletion {
  /// A token of the answer with those that were listed in its place.
  typealias Position = (token: String, listed: [(token: String, logprob: Double)])

  /// The answer; nil where it holds none, as of a server whose words all went into its reasoning.
  package var text: String?
  /// Why it ended: `stop`, `length`.
  var finishReason: String?
  /// Whether it was not cut at the token limit.
  package var isWhole: Bool { finishReason != "length" }
  /// Its length in tokens, if the server says so.
  package var tokens: Int?
  /// What was read for it in tokens, if the server says so.
  var promptTokens: Int?
  /// Its tokens, if the server gives their log-probabilities.
  var positions: [Position]
  /// Where there is no text, why, in words.
  package let whyEmpty: String

  /// Reads the first choice.
  ///
  /// - Returns: Nil if that is no chat completion.
  init?(_ data: Data) {
    let value = data.withUnsafeBytes { try? JSONParser.parse($0.bindMemory(to: UInt8.self)) }
    guard let choice = value?["choices"]?.asArray?.first,
      let message = choice["message"], case .object = message
    else { return nil }
    finishReason = choice["finish_reason"]?.asString
    tokens = value?["usage"]?["completion_tokens"]?.asInt
    promptTokens = value?["usage"]?["prompt_tokens"]?.asInt
    let said = Self.text(message["content"])
    let reasons =
      Self.text(message["reasoning_content"]) ?? Self.text(message["reasoning"]) ?? ""
    let end = finishReason.map { " (finish_reason \($0))" } ?? ""
    if let refusal = Self.text(message["refusal"]), !refusal.isEmpty {
      whyEmpty = "it refused: “\(Self.excerpt(refusal))”"
    } else if let calls = message["tool_calls"]?.asArray, !calls.isEmpty {
      whyEmpty = "it called a tool and said nothing"
    } else if finishReason == "length", said ?? "" == "" {
      whyEmpty =
        "its tokens were spent on reasoning\(end): allow more of them, or have the server reason less"
    } else {
      whyEmpty = (reasons.isEmpty ? "it said nothing" : "it reasoned and said nothing") + end
    }
    // An answer that was cut before its first word is none; one that is empty by choice is.
    let isNone = said == nil || said == "" && (finishReason == "length" || !reasons.isEmpty)
    text = isNone ? nil : said
    positions = (choice["logprobs"]?["content"]?.asArray ?? []).map { position in
      let listed = (position["top_logprobs"]?.asArray ?? []).compactMap { token in
        token["token"]?.asString.flatMap { name in
          token["logprob"]?.asDouble.map { (token: name, logprob: $0) }
        }
      }
      return (position["token"]?.asString ?? "", listed)
    }
  }

  /// A text or the texts of a list of parts, thoughts left out; nil for anything else.
  private static func text(_ content: JSONValue?) -> String? {
    switch content {
    case .string(let text)?: return text
    case .array(let parts)?:
      let texts = parts.filter { $0["type"] == .string("text") }
      return texts.isEmpty ? nil : texts.compactMap { $0["text"]?.asString }.joined()
    default: return nil
    }
  }

  /// The beginning of a text on one line, for messages.
  static func excerpt(_ text: String) -> String {
    let line = text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    return line.count <= 80 ? line : line.prefix(79) + "…"
  }
}
