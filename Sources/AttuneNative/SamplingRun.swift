// SPDX-License-Identifier: Apache-2.0

package import AttuneEngine

/// One call of `LanguageModel.sample`: prompts wait, are prefilled once, their answers decoded
/// together; an answer that ends makes room for the next.
package struct SamplingRun {
  /// A prompt whose answers are being decoded.
  private struct Live {
    /// Keys and values of all its tokens but the last, which each answer begins with.
    var block: KVBlock?
    var unfinished: Int
    /// Whether they are there.
    var isRead = false
  }

  /// An answer that is being decoded.
  private struct Active {
    var prompt: Int
    var sample: Int
    var stream: UInt64
    var block: KVBlock
    /// The token to run next, and its index in `block`.
    var next: Int32
    var index = 0
    var ids: [Int32] = []
    var logProbability: [Double] = []
    var seen: [Int32]
    var seenSet: Set<Int32>
    var finish: Sample.FinishReason?
  }

  /// Most prompt tokens that run at once: enough that weights are streamed seldom.
  private static let prefillRows = 256

  private let weights: ModelWeights
  private let prompts: [[Int32]]
  private let settings: SamplingSettings
  private let streams: [UInt64]
  private let stopIds: Set<Int32>
  private let decoder: IncrementalDecoder
  private let prefixes: KVCache
  private let owns: KVCache
  private let batch: Int
  private var picker: TokenPicker
  private var live: [Int: Live] = [:]
  private var active: [Active] = []
  private var waiting = 0
  private var results: [[Sample]]

  /// Checks a request and takes its memory.
  ///
  /// - Parameters:
  ///   - weights: The model, valid while the run lasts.
  ///   - prompts: Token ids.
  ///   - settings: How to draw.
  ///   - streams: For each prompt the stream of its first answer.
  /// - Throws: `EngineError` if the request does not fit the model or the machine.
  package init(
    _ weights: ModelWeights, _ prompts: [[Int32]], _ settings: SamplingSettings,
    streams: [UInt64]? = nil
  ) throws {
    try settings.validate()
    let spec = weights.spec
    try Self.check(prompts, spec)
    let n = settings.samplesPerPrompt
    let streams = streams ?? prompts.indices.map { UInt64($0) &* UInt64(n) }
    guard streams.count == prompts.count else {
      throw EngineError(
        .badRequest, "\(streams.count) random streams for \(prompts.count) prompts")
    }
    self.weights = weights
    self.prompts = prompts
    self.settings = settings
    self.streams = streams
    stopIds = Set(settings.stopIds ?? spec.endOfSequence)
    let (samples, overflow) = prompts.count.multipliedReportingOverflow(by: n)
    guard !overflow else {
      throw EngineError(.badRequest, "samples per prompt \(n): more than can be counted")
    }
    let longest = prompts.map(\.count).max() ?? 1
    let capacity = min(settings.maxTokens, spec.maximumPositions)
    batch = try Self.batch(
      min(settings.batch, samples), spec, weights.copies, prompts: prompts.count,
      longest: longest, capacity: capacity)
    prefixes = try KVCache(weights, blocks: min(batch, prompts.count), capacity: longest)
    owns = try KVCache(weights, blocks: batch, capacity: capacity)
    let tokens = prompts.reduce(0) { $0 + $1.count }
    decoder = try IncrementalDecoder(
      weights: weights, maximumRows: min(Self.prefillRows, tokens), maximumBatch: batch)
    picker = TokenPicker(settings, vocabulary: spec.vocabularySize)
    let empty = Sample(ids: [], logProbability: [], finishReason: .cancelled)
    results = prompts.map { _ in Array(repeating: empty, count: n) }
  }

  /// Refuses prompts that the model can't read.
  static func check(_ prompts: [[Int32]], _ spec: TransformerSpec) throws {
    for (p, prompt) in prompts.enumerated() {
      guard !prompt.isEmpty else {
        throw EngineError(
          .badRequest, "prompt \(p + 1) is empty: there is nothing to continue")
      }
      guard prompt.count <= spec.maximumPositions else {
        throw EngineError(
          .badRequest,
          "prompt \(p + 1) has \(prompt.count) tokens, the model reads at most "
            + "\(spec.maximumPositions): shorten it")
      }
      if let id = prompt.first(where: { $0 < 0 || Int($0) >= spec.vocabularySize }) {
        throw EngineError(
          .badRequest,
          "prompt \(p + 1) holds the id \(id), outside the vocabulary of "
            + "\(spec.vocabularySize): is it the model's own tokenizer?")
      }
    }
  }

  /// The batch, made smaller if its keys and values would take more than half of the memory that this
  /// process can have.
  private static func batch(
    _ wanted: Int, _ spec: TransformerSpec, _ copies: SamplerCopy?, prompts: Int, longest: Int,
    capacity: Int
  ) throws -> Int {
    let limit = ProcessMemory.limit / 2
    var batch = max(1, wanted)
    while true {
      let prefix = KVCache.bytes(
        spec, copies, blocks: min(batch, prompts), capacity: longest)
      let own = KVCache.bytes(spec, copies, blocks: batch, capacity: capacity)
      if let prefix, let own, prefix < limit, own < limit - prefix { return batch }
      guard batch > 1 else {
        throw EngineError(
          .unavailable,
          "keys and values of \(longest) prompt tokens and \(capacity) new ones take more than "
            + "half of the memory: lower max tokens or shorten the prompts")
      }
      batch /= 2
    }
  }

  /// Bytes that a run takes at most, of answers that all grow to the longest.
  ///
  /// - Throws: `EngineError` if keys and values would take more than half of the memory.
  static func bytes(
    _ spec: TransformerSpec, _ adapters: LoRALayout?, _ precision: Precision,
    _ shape: SamplingShape
  ) throws -> Int {
    let copies = SamplerCopy(shape.sampler, precision)
    let capacity = min(shape.maxTokens, spec.maximumPositions)
    let wanted = min(SamplingSettings().batch, shape.prompts * shape.samplesPerPrompt)
    let batch = try batch(
      wanted, spec, copies, prompts: shape.prompts, longest: shape.promptTokens,
      capacity: capacity)
    let tokens = shape.prompts * shape.promptTokens
    let prefix = KVCache.bytes(
      spec, copies, blocks: min(batch, shape.prompts), capacity: shape.promptTokens)
    let own = KVCache.bytes(spec, copies, blocks: batch, capacity: capacity)
    return (prefix ?? 0) + (own ?? 0)
      + IncrementalDecoder.bytes(
        spec, adapters, maximumRows: min(Self.prefillRows, tokens), maximumBatch: batch)
  }

  /// Decodes everything.
  ///
  /// - Parameter onToken: Called after each token; false ends that answer.
  /// - Returns: For each prompt its answers.
  /// - Throws: `EngineError` if logits are not finite; what `onToken` throws.
  package mutating func run(_ onToken: ((SampleEvent) throws -> Bool)?) throws -> [[Sample]] {
    let samples = prompts.count * settings.samplesPerPrompt
    while waiting < samples || !active.isEmpty {
      try Task.checkCancellation()
      admit()
      try step(onToken)
      retire()
    }
    return results
  }

  /// Fewer tokens that prompts have in common are read again: copying them is not worth it.
  private static let leastShared = 8

  /// The prompt at hand that has the most of a prompt's first tokens, and how many it may take over. One
  /// that waits to be read is taken where it has twice as many, since it can't wait for others then.
  private func nearest(_ p: Int) -> (prompt: Int, count: Int)? {
    let own = prompts[p].dropLast()
    var (best, most): ((prompt: Int, count: Int)?, Int) = (nil, 0)
    for (other, state) in live.sorted(by: { $0.key < $1.key }) where state.block != nil {
      let common = DecoderSlots.common(prompts[other].dropLast(), own)
      let count = IncrementalDecoder.usable(
        common, read: common, runsBlocks: weights.copies != nil)
      let worth = state.isRead ? 2 * count : count
      if count >= Self.leastShared, worth > most { (best, most) = ((other, count), worth) }
    }
    return best
  }

  /// Fills the batch with waiting answers and runs the prompts that they need; what a prompt has in common
  /// with one at hand it takes over.
  private mutating func admit() {
    let n = settings.samplesPerPrompt
    var rows: [DecodeRow] = []
    var reading: [Int] = []
    func run() {
      if !rows.isEmpty { decoder.step(rows, wantsLogits: false) }
      rows = []
    }
    func finishReading() {
      run()
      for p in reading { live[p]?.isRead = true }
      reading = []
    }
    while active.count < batch && waiting < prompts.count * n {
      let (p, i) = waiting.quotientAndRemainder(dividingBy: n)
      let prompt = prompts[p]
      if live[p] == nil {
        let block = prompt.count > 1 ? prefixes.take() : nil
        if let block {
          var done = 0
          if let (other, count) = nearest(p), let source = live[other]?.block {
            if live[other]?.isRead == false { finishReading() }
            block.copy(count, from: source, layers: weights.spec.layers)
            done = count
          }
          while done < prompt.count - 1 {
            // The end, or up to a whole unit.
            let (unit, room) = (IncrementalDecoder.pieceUnit, done + Self.prefillRows - rows.count)
            let next = prompt.count - 1 <= room ? prompt.count - 1 : max(done, room / unit * unit)
            for t in done..<next {
              rows.append(DecodeRow(id: prompt[t], own: block, ownIndex: t))
            }
            done = next
            if done < prompt.count - 1 { run() }
          }
          reading.append(p)
        }
        live[p] = Live(block: block, unfinished: n)
      }
      let seenSet = settings.repetitionPenalty == 1 ? [] : Set(prompt)
      active.append(
        Active(
          prompt: p, sample: i, stream: streams[p] &+ UInt64(i), block: owns.take(),
          next: prompt[prompt.count - 1], seen: seenSet.sorted(), seenSet: seenSet))
      waiting += 1
    }
    finishReading()
  }

  /// One token for each active answer.
  private mutating func step(_ onToken: ((SampleEvent) throws -> Bool)?) throws {
    let logits = decoder.step(
      active.map { answer in
        DecodeRow(
          id: answer.next, prefix: live[answer.prompt]?.block,
          prefixCount: prompts[answer.prompt].count - 1, own: answer.block,
          ownIndex: answer.index)
      }, wantsLogits: true)
    let picks = try picker.pick(
      logits,
      active.map { .init(stream: $0.stream, position: $0.ids.count, seen: $0.seen) })
    for (a, pick) in picks.enumerated() {
      active[a].ids.append(pick.id)
      active[a].logProbability.append(pick.logProbability)
      active[a].next = pick.id
      active[a].index += 1
      if settings.repetitionPenalty != 1, active[a].seenSet.insert(pick.id).inserted {
        active[a].seen.append(pick.id)
      }
      let count = active[a].ids.count
      if stopIds.contains(pick.id) {
        active[a].finish = .stop
      } else if count >= settings.maxTokens
        || prompts[active[a].prompt].count + count > weights.spec.maximumPositions
      {
        active[a].finish = .length
      }
      let event = SampleEvent(
        prompt: active[a].prompt, sample: active[a].sample, position: count - 1, id: pick.id,
        logProbability: pick.logProbability)
      if let onToken, try !onToken(event), active[a].finish == nil {
        active[a].finish = .cancelled
      }
    }
  }

  /// Takes answers that ended out of the batch and gives their memory back.
  private mutating func retire() {
    for answer in active {
      guard let finish = answer.finish else { continue }
      results[answer.prompt][answer.sample] = Sample(
        ids: answer.ids, logProbability: answer.logProbability, finishReason: finish)
      owns.give(back: answer.block)
      guard var prompt = live[answer.prompt] else { continue }
      prompt.unfinished -= 1
      live[answer.prompt] = prompt
      if prompt.unfinished == 0 {
        if let block = prompt.block { prefixes.give(back: block) }
        live[answer.prompt] = nil
      }
    }
    active.removeAll { $0.finish != nil }
  }
}
