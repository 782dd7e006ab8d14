// SPDX-License-Identifier: Apache-2.0

/// What a column, or a field of a message, that no reader asked for would have said.
enum ColumnMeaning {
  /// Something that the model is given.
  case input
  /// How much a row or a turn counts.
  case weight
  /// Which answers were liked.
  case judgement
  /// Anything else: where a row comes from, its number.
  case other

  /// Names of what a model is given. A column that becomes used is taken out here.
  private static let inputs: Set<String> = [
    "functions", "images", "image", "videos", "video", "audios", "audio", "documents",
    "system", "system_prompt", "system_message", "messages", "conversations",
  ]
  /// Names of what a row or turn counts. One that becomes used is taken out here.
  private static let weights: Set<String> = ["weight", "weights", "loss_weight", "train"]
  /// Words in the names of columns that say which answers were liked.
  private static let judging: Set<String> = [
    "rating", "ratings", "score", "scores", "label", "labels", "thumb", "thumbs", "preference",
    "preferences", "preferred", "choice", "winner", "rank", "ranks", "ranking", "vote", "votes",
    "upvotes", "downvotes", "feedback", "like", "liked", "dislike", "disliked", "better", "chosen",
    "rejected", "stars", "reward", "rewards", "verdict", "judgement", "judgment", "best", "worst",
    "helpfulness", "correctness", "quality", "accepted", "grade",
  ]
  /// Whole names of such columns whose words say other things elsewhere.
  private static let judgements: Set<String> = ["correct", "is_correct", "good", "bad", "is_bad"]
  /// Words beside which those say something of the text and not of an answer.
  private static let describing: Set<String> = [
    "language", "lang", "source", "url", "time", "timestamp",
  ]

  /// Fields of a message that are used: those that chat templates read, and whether it is learned.
  static let messageFields: Set<String> = Message.lossKeys.union(Message.thoughtKeys).union([
    "tools", "tool_calls", "tool_call_id", "name", Message.planKey,
  ])

  /// Columns that are read after the row: how an answer ended and the tokens as sampled.
  static let readInTraining: Set<String> = [
    "chosen_finish_reason", "rejected_finish_reason", "finish_reasons", "chosen_ids",
    "rejected_ids", "explored", "explored_ids", "explored_finish_reason",
  ]

  init(_ name: String) {
    let words = Set(Self.words(name))
    self =
      if Self.inputs.contains(name) {
        .input
      } else if Self.weights.contains(name) {
        .weight
      } else if Self.judgements.contains(name) {
        .judgement
      } else if !words.isDisjoint(with: Self.judging), words.isDisjoint(with: Self.describing) {
        .judgement
      } else {
        .other
      }
  }

  /// The parts of a name: `winner_model_a`, `overallRating`.
  private static func words(_ name: String) -> [String] {
    var words: [String] = []
    var word = ""
    var wasLower = false
    for character in name {
      if !character.isLetter || (character.isUppercase && wasLower) {
        if !word.isEmpty { words.append(word) }
        word = ""
      }
      if character.isLetter { word += character.lowercased() }
      wasLower = character.isLowercase
    }
    return word.isEmpty ? words : words + [word]
  }

  /// What to do about a column whose name is near one that is read.
  static func hint(_ name: String, in kind: DataKind) -> String? {
    switch (name, kind) {
    case ("response", .promptOnly), ("output", .promptOnly), ("answer", .promptOnly),
      ("target", .promptOnly), ("reply", .promptOnly), ("responses", .promptOnly):
      "name it \"completion\" if it is the answer to learn"
    case ("completion", .languageModelling), ("response", .languageModelling):
      "put the question under \"prompt\" if it is an answer"
    case ("context", _), ("input", _), ("document", _), ("passage", _):
      "put it into the prompt if the model is to see it"
    case ("history", _): "put its turns into the prompt if the model is to see them"
    case ("reject", _), ("loser", _): "name it \"rejected\" if it is the worse answer"
    default: nil
    }
  }
}
