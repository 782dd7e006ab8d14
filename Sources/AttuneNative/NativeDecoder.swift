// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine
import CAttuneKernels

extension NativeModel {
  package func decoder(_ settings: DecoderSettings) throws -> any ContinuousDecoder {
    try NativeDecoder(self, settings)
  }
}

/// The CPU's decoder of requests that come one by one.
///
/// Each text has a block of keys and values of its own. Where a prompt begins as another text did, what
/// that one has is copied, which costs little beside computing it; where it goes on from a text that
/// ended, its block is taken over.
package final class NativeDecoder: ContinuousDecoder {
  /// A request that has not ended.
  private struct Text {
    let number: Int
    let request: DecoderRequest
    /// Its settings but for what is its own: texts that agree in them are drawn together.
    let drawn: SamplingSettings
    let stopIds: Set<Int32>
    let maxTokens: Int
    /// Its block; nil until its prompt is begun.
    var slot: Int?
    /// Tokens of the prompt that have been read: all but the last at the end.
    var read = 0
    var scores: [ScoredToken] = []
    var next: Int32
    var drawnCount = 0
    var hasEnded = false
    var seen: [Int32]
    var seenSet: Set<Int32>

    var prompt: [Int32] { request.prompt }
    /// Where the token to run next stands.
    var position: Int { prompt.count - 1 + drawnCount }
    var isRead: Bool { slot != nil && read == prompt.count - 1 }
  }

  /// Most prompt tokens of a step: as many as a sampling run takes where nobody waits for the next token,
  /// fewer beside texts that are under way.
  private static let (pieceAlone, pieceBeside) = (256, 64)
  /// Rows of a step that scores a prompt: their logits are kept.
  private static let scoredRows = 64
  /// A prompt waits for one that is being read if that spares it so many tokens.
  private static let worthWaiting = 32

  package let settings: DecoderSettings
  private let model: NativeModel
  private let context: Int
  private let cache: KVCache
  private var slots: DecoderSlots
  private let decoder: IncrementalDecoder
  private var picker: TokenPicker
  /// Those whose prompts are to be read, the first that came first.
  private var waiting: [Text] = []
  private var active: [Text] = []
  private var last = 0

  package var count: Int { waiting.count + active.count }

  package init(_ model: NativeModel, _ wanted: DecoderSettings) throws {
    let spec = model.spec
    guard wanted.sequences > 0, wanted.kept >= 0, wanted.context.map({ $0 > 0 }) ?? true else {
      throw EngineError(
        .badRequest, "a decoder needs room for at least one text of at least one token")
    }
    let blocks = wanted.sequences + wanted.kept
    var context = min(wanted.context ?? spec.maximumPositions, spec.maximumPositions)
    let limit = ProcessMemory.limit / 2
    let copies = SamplerCopy(wanted.sampler, model.origin.engine.precision)
    func fits() -> Bool {
      KVCache.bytes(spec, copies, blocks: blocks, capacity: context).map { $0 < limit } ?? false
    }
    while wanted.context == nil, context > 256, !fits() { context /= 2 }
    guard fits() else {
      throw EngineError(
        .unavailable,
        "keys and values of \(blocks) texts (\(wanted.sequences) at once, \(wanted.kept) kept) of "
          + "\(context) tokens take more than half of the memory: lower one of the three")
    }
    var settings = wanted
    settings.context = context
    self.settings = settings
    self.context = context
    self.model = model
    let cache = try KVCache(spec, copies, blocks: blocks, capacity: context)
    self.cache = cache
    let rows = max(wanted.sequences, min(Self.scoredRows, context))
    decoder = try model.withWeights(positions: 1, sampler: wanted.sampler) { weights in
      try IncrementalDecoder(
        weights: weights, maximumRows: max(Self.pieceAlone, rows), maximumBatch: rows)
    }
    slots = DecoderSlots(
      (0..<blocks).map { _ in cache.take() },
      runsBlocks: copies != nil)
    picker = TokenPicker(SamplingSettings(), vocabulary: spec.vocabularySize)
  }

  package func begin(_ request: DecoderRequest) throws -> Int {
    var settings = request.settings
    try settings.validate()
    try SamplingRun.check([request.prompt], model.spec)
    func demand(_ holds: Bool, _ words: String) throws {
      if !holds { throw EngineError(.badRequest, words) }
    }
    try demand(
      settings.samplesPerPrompt == 1, "a request has one answer: begin one for each sample")
    try demand(
      settings.sampler == self.settings.sampler,
      "the decoder draws with sampler \(self.settings.sampler.rawValue)")
    try demand(request.listed >= 0, "listed \(request.listed): must be 0 or above")
    try demand(
      request.prompt.count <= context,
      "the prompt has \(request.prompt.count) tokens, and there is room for \(context): shorten it")
    let (stops, most) = (settings.stopIds ?? model.spec.endOfSequence, settings.maxTokens)
    (settings.seed, settings.maxTokens, settings.stopIds, settings.batch) = (0, 1, nil, 1)
    last += 1
    let seen = settings.repetitionPenalty == 1 ? [] : Set(request.prompt)
    waiting.append(
      Text(
        number: last, request: request, drawn: settings, stopIds: Set(stops), maxTokens: most,
        next: request.prompt[request.prompt.count - 1], seen: seen.sorted(), seenSet: seen))
    return last
  }

  package func cancel(_ number: Int) {
    func take(from texts: inout [Text]) {
      guard let place = texts.firstIndex(where: { $0.number == number }) else { return }
      if let slot = texts.remove(at: place).slot { slots.leave(slot) }
    }
    take(from: &waiting)
    take(from: &active)
  }

  package func step() throws -> [DecoderEvent] {
    try Task.checkCancellation()
    guard count > 0 else { return [] }
    return try model.withWeights(positions: context, sampler: settings.sampler) { weights in
      // Tables and copies may have been made anew since the last step.
      decoder.weights = weights
      var events: [DecoderEvent] = []
      try read(&events)
      try draw(&events)
      return events
    }
  }

  // MARK: Prompts

  private func read(_ events: inout [DecoderEvent]) throws {
    let room = active.isEmpty ? Self.pieceAlone : Self.pieceBeside
    var rows: [DecodeRow] = []
    var parts: [(slot: Int, ids: ArraySlice<Int32>)] = []
    for place in waiting.indices {
      guard let slot = waiting[place].slot ?? findSlot(place, isFirst: rows.isEmpty) else { break }
      if waiting[place].request.scoresPrompt {
        // Its rows have logits, so they are a step of their own.
        if rows.isEmpty, try score(place, slot) {
          events.append(.prompt(waiting[place].number, waiting[place].scores))
        }
        break
      }
      let (prompt, start) = (waiting[place].prompt, waiting[place].read)
      let (left, most) = (prompt.count - 1 - start, room - rows.count)
      // The end, or up to where another piece may begin.
      let unit = IncrementalDecoder.pieceUnit
      let count = left <= most ? left : (start + most) / unit * unit - start
      guard count > 0 || left == 0 else { break }
      let ids = prompt[start..<start + count]
      for t in ids.indices {
        rows.append(DecodeRow(id: prompt[t], own: slots[slot].block, ownIndex: t))
      }
      parts.append((slot, ids))
      waiting[place].read += count
      guard count == left else { break }
    }
    if !rows.isEmpty { decoder.step(rows, wantsLogits: false) }
    for part in parts { slots.extend(part.slot, by: part.ids, asPrompt: true) }
    active += waiting.filter(\.isRead)
    waiting.removeAll(where: \.isRead)
  }

  /// Gives a prompt its block, with what is known of its beginning.
  ///
  /// - Parameter isFirst: Whether nothing else is read in this step.
  /// - Returns: Nil if it has to wait: for a block, or for another prompt that begins as it does.
  private func findSlot(_ place: Int, isFirst: Bool) -> Int? {
    let text = waiting[place]
    guard active.count + place < settings.sequences else { return nil }
    let ids = text.prompt[..<(text.prompt.count - 1)]
    // What is to be scored has to be run.
    let known = text.request.scoresPrompt ? nil : slots.longest(ids)
    let spared = waiting[..<place].map { DecoderSlots.common($0.prompt, ids) }.max() ?? 0
    guard isFirst || spared < (known?.count ?? 0) + Self.worthWaiting else { return nil }
    guard let slot = slots.take(known, layers: model.spec.layers) else { return nil }
    waiting[place].slot = slot
    waiting[place].read = slots[slot].count
    return slot
  }

  /// Scores a piece of a prompt.
  ///
  /// - Returns: Whether it was the last.
  private func score(_ place: Int, _ slot: Int) throws -> Bool {
    let (prompt, start) = (waiting[place].prompt, waiting[place].read)
    let part = start..<min(start + Self.scoredRows, prompt.count - 1)
    if !part.isEmpty {
      let logits = decoder.step(
        part.map { DecodeRow(id: prompt[$0], own: slots[slot].block, ownIndex: $0) },
        wantsLogits: true)
      let normalisers = try normalisers(logits, part.count)
      for (m, t) in part.enumerated() {
        waiting[place].scores.append(
          scored(
            prompt[t + 1], logits + m * model.spec.vocabularySize, normalisers[m],
            waiting[place].request.listed))
      }
      slots.extend(slot, by: prompt[part], asPrompt: false)
      waiting[place].read = part.upperBound
    }
    return part.upperBound == prompt.count - 1
  }

  // MARK: Answers

  private func draw(_ events: inout [DecoderEvent]) throws {
    guard !active.isEmpty else { return }
    // Texts that are drawn alike side by side.
    var groups: [(settings: SamplingSettings, texts: [Text])] = []
    for text in active {
      if let place = groups.firstIndex(where: { $0.settings == text.drawn }) {
        groups[place].texts.append(text)
      } else {
        groups.append((text.drawn, [text]))
      }
    }
    active = groups.flatMap(\.texts)
    let vocabulary = model.spec.vocabularySize
    let logits = decoder.step(
      active.compactMap { text in
        text.slot.map {
          DecodeRow(id: text.next, own: slots[$0].block, ownIndex: text.position)
        }
      }, wantsLogits: true)
    let normalisers = try normalisers(logits, active.count)
    let listed = active.indices.map {
      picker.greatest(active[$0].request.listed, of: logits + $0 * vocabulary)
    }
    // Penalties are written into the logits.
    let likelihoods = listed.enumerated().map { m, ids in
      ids.map { self.listed($0, logits + m * vocabulary, normalisers[m]) }
    }
    var first = 0
    for group in groups {
      let rows = first..<first + group.texts.count
      picker.settings = group.settings
      let draws = rows.map { a in
        let text = active[a]
        return TokenPicker.Draw(
          seed: text.request.settings.seed, stream: text.request.stream, position: text.drawnCount,
          seen: text.seen)
      }
      let picks = try picker.pick(logits + first * vocabulary, draws)
      for (a, pick) in zip(rows, picks) {
        let token = ScoredToken(
          id: pick.id, logProbability: Double(pick.logit) - normalisers[a], listed: likelihoods[a])
        events.append(.token(active[a].number, token, take(pick.id, a)))
      }
      first = rows.upperBound
    }
    for text in active where text.hasEnded {
      if let slot = text.slot { slots.leave(slot) }
    }
    active.removeAll(where: \.hasEnded)
  }

  /// Takes a token that was drawn.
  ///
  /// - Returns: Why the text ends with it; nil if it goes on.
  private func take(_ id: Int32, _ a: Int) -> Sample.FinishReason? {
    if let slot = active[a].slot { slots.extend(slot, by: [active[a].next], asPrompt: false) }
    active[a].next = id
    active[a].drawnCount += 1
    if active[a].drawn.repetitionPenalty != 1, active[a].seenSet.insert(id).inserted {
      active[a].seen.append(id)
    }
    let isLast = active[a].drawnCount >= active[a].maxTokens || active[a].position >= context
    let isStop = active[a].stopIds.contains(id)
    active[a].hasEnded = isStop || isLast
    return isStop ? .stop : isLast ? .length : nil
  }

  // MARK: Numbers

  private func normalisers(_ logits: UnsafePointer<Float>, _ rows: Int) throws -> [Double] {
    var normalisers = [Double](repeating: 0, count: rows)
    atk_log_sum_exp(&normalisers, logits, 1, rows, model.spec.vocabularySize)
    guard normalisers.allSatisfy(\.isFinite) else { throw EngineError.logitsNotFinite }
    return normalisers
  }

  private func listed(
    _ id: Int32, _ row: UnsafePointer<Float>, _ normaliser: Double
  ) -> ScoredToken.Listed {
    .init(id: id, logProbability: Double(row[Int(id)]) - normaliser)
  }

  private func scored(
    _ id: Int32, _ row: UnsafePointer<Float>, _ normaliser: Double, _ count: Int
  ) -> ScoredToken {
    ScoredToken(
      id: id, logProbability: Double(row[Int(id)]) - normaliser,
      listed: picker.greatest(count, of: row).map { listed($0, row, normaliser) })
  }
}
