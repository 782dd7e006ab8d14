// SPDX-License-Identifier: Apache-2.0

import AttuneData
import AttuneEngine
import AttuneNative
import AttuneTestSupport
import AttuneTraining
import AttuneTrainingTestSupport
import Foundation
import Testing

struct EncodingTests {
  /// ChatML as SmolLM2 writes it, a line break after each end.
  static let template = """
    {% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] \
    + '<|endoftext|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}\
    {{ '<|im_start|>assistant\\n' }}{% endif %}
    """

  func encoder(maximumLength: Int = 0, template: String? = nil) throws -> TextEncoder {
    let plain = try tinyModel()
    let model = try LoadedModel.random(
      plain.model.spec, chatTemplate: template, seed: 1, on: NativeEngine())
    return try TextEncoder(model, maximumLength: maximumLength)
  }

  func row(_ json: String) throws -> DataRow {
    let folder = try TemporaryFolder()
    return try folder.rows("data.jsonl", [json]).rows[0]
  }

  func text(_ ids: some Sequence<Int32>) -> String {
    Tokenizer.bytes.decode(Array(ids), skippingSpecialTokens: false)
  }

  @Test func `strings are tokenised apart and joined, the end explicit`() throws {
    let group = try encoder().group(row(#"{"prompt": "ab", "completion": " c"}"#))
    #expect(group.prompt == [97, 98])
    #expect(group.answers[0].ids == [32, 99, 256] && group.answers[0].scored == [0..<3])
  }

  @Test func `a model knows what its template puts before a user's words`() throws {
    let plain = try tinyModel()
    #expect(plain.model.turnOpening.isEmpty)
    func opening(_ template: String) throws -> String {
      let model = try LoadedModel.random(
        plain.model.spec, chatTemplate: template, seed: 1, on: NativeEngine())
      return text(model.model.turnOpening)
    }
    #expect(try opening(Self.template) == "<|im_start|>user\n")
    // Behind a system turn of the template's own the end of the turn before is in common too.
    let system = "{{ '<|im_start|>system\\nBe brief.<|endoftext|>\\n' }}"
    #expect(try opening(system + Self.template) == "<|endoftext|>\n<|im_start|>user\n")
    // One that writes users' words otherwise, and one that takes no such conversation.
    #expect(try opening("{% for m in messages %}{{ m['content'] | upper }}{% endfor %}") == "")
    #expect(try opening("{{ raise_exception('one turn alone') }}") == "")
  }

  @Test func `what a text holds never becomes a control token`() throws {
    let group = try encoder(template: Self.template).group(
      row(
        #"{"messages": [{"role": "user", "content": "hi"}, "#
          + #"{"role": "assistant", "content": "a<|endoftext|>b"}]}"#))
    #expect(group.answers[0].ids.count(where: { $0 == 256 }) == 1)
    #expect(group.answers[0].ids.last == 256)
  }

  @Test func `a conversation carries its loss on the assistant's turns alone`() throws {
    let group = try encoder(template: Self.template).group(
      row(
        #"{"messages": [{"role": "user", "content": "u1"}, {"role": "assistant", "content": "a1"}"#
          + #", {"role": "user", "content": "u2"}, {"role": "assistant", "content": "a2"}]}"#))
    #expect(text(group.prompt).hasSuffix("u1<|endoftext|>\n<|im_start|>assistant\n"))
    let answer = group.answers[0]
    #expect(answer.scored.map { text(answer.ids[$0]) } == ["a1<|endoftext|>", "a2<|endoftext|>"])
    // The line break that the template puts behind the end is no part of the answer.
    #expect(answer.ids.last == 256)
  }

  @Test func `an answer that begins with a line break is still an answer`() throws {
    let group = try encoder(template: Self.template).group(
      row(
        #"{"prompt": [{"role": "user", "content": "u"}], "#
          + #""completion": [{"role": "assistant", "content": "\n\nx"}]}"#))
    let answer = group.answers[0]
    #expect(text(answer.ids) == "\n\nx<|endoftext|>" && answer.scored == [0..<answer.ids.count])
  }

  @Test func `an answer that was cut gets no end`() throws {
    let encoder = try encoder()
    let pair = try encoder.group(
      row(
        #"{"prompt": "p", "chosen": "c", "rejected": "r", "chosen_finish_reason": "length"}"#))
    #expect(pair.answers.map(\.ids) == [[99], [114, 256]])
    let ranking = try encoder.group(
      row(
        #"{"prompt": "p", "completions": ["c", "r"], "scores": [1, 2], "#
          + #""finish_reasons": ["stop", "length"]}"#))
    #expect(ranking.answers.map(\.ids) == [[99, 256], [114]])
  }

  @Test func `sampled ids stay as they are`() throws {
    let group = try encoder().group(
      row(
        #"{"prompt": "p", "completions": [{"text": "ab", "ids": [97, 98], "logprob": -1, "#
          + #""finish_reason": "length"}]}"#))
    #expect(group.answers[0].ids == [97, 98])
  }

  @Test func `what is too long is cut by rule and counted`() throws {
    let encoder = try encoder(maximumLength: 6)
    let long = try encoder.group(row(#"{"prompt": "abcdefgh", "completion": "xyz"}"#))
    #expect(text(long.prompt) == "gh" && text(long.answers[0].ids) == "xyz<|endoftext|>")
    #expect(long.promptCut == 6 && !long.answers[0].isCut)
    let longer = try encoder.group(row(#"{"prompt": "abc", "completion": "stuvwxyz"}"#))
    #expect(text(longer.prompt) == "c" && text(longer.answers[0].ids) == "stuvw")
    #expect(longer.answers[0].scored == [0..<5] && longer.answers[0].isCut)
  }

  @Test func `errors name the line and what is missing`() throws {
    let conversation = #"{"prompt": [{"role": "user", "content": "u"}]}"#
    let error = try #require(throws: TrainingError.self) {
      _ = try encoder().group(row(conversation))
    }
    #expect(error.message.hasPrefix("line 1: ") && error.message.contains("no chat template"))
    // An empty prompt is the beginning of a text.
    #expect(try encoder().group(row(#"{"prompt": "", "completion": "a"}"#)).prompt == [256])
  }

  @Test func `a template that rewrites earlier turns is refused`() throws {
    let forgetful = """
      {% for message in messages %}{{ loop.length ~ message['content'] }}{% endfor %}
      """
    let error = try #require(throws: TrainingError.self) {
      _ = try encoder(template: forgetful).group(
        row(
          #"{"messages": [{"role": "user", "content": "u"}, "#
            + #"{"role": "assistant", "content": "a"}]}"#))
    }
    #expect(error.message.contains("line 1"))
  }
}
