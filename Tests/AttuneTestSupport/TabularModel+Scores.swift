// SPDX-License-Identifier: Apache-2.0

import AttuneEngine
import Foundation

/// What a table's row depends on: all tokens so far.
private struct Context {
  var hash: UInt64 = 0
  var count = 0

  mutating func read(_ id: Int32) {
    var random = SplitMix(seed: hash ^ UInt64(id + 1))
    hash = random.next()
    count += 1
  }
}

/// The sums of some layers' logits after every token.
private final class TabularTrunk: Trunk {
  let segments: [Segment]
  let layers: Int
  let sums: [[[Double]]]
  let base: TabularModel.Base

  init(_ segments: [Segment], layers: Int, _ sums: [[[Double]]], _ base: TabularModel.Base) {
    (self.segments, self.layers, self.sums, self.base) = (segments, layers, sums, base)
  }

  func selecting(_ indices: [Int]) -> any Trunk {
    let chosen = indices.map { old in
      Segment(
        segments[old].ids, parent: segments[old].parent.flatMap { indices.firstIndex(of: $0) })
    }
    return TabularTrunk(chosen, layers: layers, indices.map { sums[$0] }, base)
  }

  func joining(_ others: [any Trunk]) -> any Trunk {
    let all = [self] + others.compactMap { $0 as? TabularTrunk }
    precondition(all.count == others.count + 1 && all.allSatisfy { $0.base === base })
    var joined: [Segment] = []
    for trunk in all {
      let start = joined.count
      joined += trunk.segments.map { Segment($0.ids, parent: $0.parent.map { $0 + start }) }
    }
    return TabularTrunk(joined, layers: layers, all.flatMap(\.sums), base)
  }
}

extension TabularModel {
  /// The column that a context has beside the first.
  private func column(_ context: Context) -> Int {
    1 + Int(context.hash % UInt64(spec.width - 1))
  }

  /// The context after every token of every segment.
  private func contexts(_ segments: [Segment]) throws -> [[Context]] {
    func demand(_ holds: Bool, _ words: String) throws {
      if !holds { throw EngineError(.badRequest, words) }
    }
    var all: [[Context]] = []
    for (s, segment) in segments.enumerated() {
      try demand(!segment.ids.isEmpty, "segment \(s) of the batch has no tokens")
      try demand(
        segment.parent.map { (0..<s).contains($0) } ?? true,
        "segment \(s) continues one that does not come before it")
      let before = segment.parent.flatMap { all[$0].last }
      try demand(
        (before?.count ?? 0) + segment.ids.count <= spec.maximumPositions,
        "a text of \((before?.count ?? 0) + segment.ids.count) tokens is longer than the model's "
          + "\(spec.maximumPositions)")
      let least = before == nil ? 0 : -1
      try demand(
        segment.scored.allSatisfy { $0.lowerBound > least && $0.upperBound <= segment.ids.count }
          && segment.scalarsAfter.allSatisfy { (least..<segment.ids.count).contains($0) },
        "segment \(s) has no such position to read")
      var context = before ?? Context()
      all.append(
        try segment.ids.map { id in
          try demand(
            (0..<Int32(spec.vocabularySize)).contains(id),
            "token id \(id) is outside the model's vocabulary of \(spec.vocabularySize)")
          context.read(id)
          return context
        })
    }
    return all
  }

  /// Adds the logits of some layers in a context.
  private func add(_ layers: Range<Int>, _ context: Context, to sums: inout [Double]) throws {
    let (tables, v, start) = (try columns(), spec.vocabularySize, column(context))
    for layer in layers {
      tables[layer].withUnsafeBufferPointer { table in
        for i in 0..<v { sums[i] += table[i] + table[start * v + i] }
      }
    }
  }

  private func logits(_ context: Context, above: [Double]? = nil, from layer: Int = 0) throws
    -> [Double]
  {
    var sums = above ?? [Double](repeating: 0, count: spec.vocabularySize)
    try add(layer..<spec.layers, context, to: &sums)
    return sums
  }

  private static func logSoftmax(_ logits: [Double], _ temperature: Double) -> [Double] {
    let largest = logits.max() ?? 0
    let sum = log(logits.reduce(0) { $0 + exp(($1 - largest) / temperature) })
    return logits.map { ($0 - largest) / temperature - sum }
  }

  func score(
    _ segments: [Segment], _ request: HeadRequest, trunk: (any Trunk)?
  ) throws -> HeadScores {
    try run(segments, request, trunk: trunk, record: nil)
  }

  func pass(
    _ segments: [Segment], _ request: HeadRequest, trunk: (any Trunk)?
  ) throws -> Pass {
    var rows: [DataRow] = []
    let scores = try run(segments, request, trunk: trunk) { rows.append($0) }
    let number = base.pass
    return Pass(scores: scores) { [self] gradients in
      guard number == base.pass else {
        throw EngineError(.badRequest, "a pass goes back once, and before the next")
      }
      try requireTraining()
      try goBack(rows, scores, gradients, request)
      base.pass += 1
    }
  }

  /// A position that was read.
  private struct DataRow {
    enum Kind { case scored(Int32), scalar }
    let kind: Kind
    let segment: Int
    let index: Int
    let column: Int
    let logProbabilities: [Double]
  }

  private func run(
    _ segments: [Segment], _ request: HeadRequest, trunk: (any Trunk)?, record: ((DataRow) -> Void)?
  ) throws -> HeadScores {
    try Task.checkCancellation()
    guard request.temperature > 0, request.temperature.isFinite,
      request.candidates.allSatisfy({ (0..<Int32(spec.vocabularySize)).contains($0) })
    else { throw EngineError(.badRequest, "the request does not fit the model") }
    let contexts = try contexts(segments)
    var lower: TabularTrunk?
    if let trunk {
      guard accepts(trunk), let known = trunk as? TabularTrunk,
        known.segments.map(\.ids) == segments.map(\.ids),
        known.segments.map(\.parent) == segments.map(\.parent)
      else { throw EngineError(.badRequest, "the trunk is not of this model and these segments") }
      lower = known
    }
    base.pass += 1
    let head = scalarHeadWeights
    var scores = HeadScores(logProbabilities: [])
    for (s, segment) in segments.enumerated() {
      func place(_ token: Int) -> (segment: Int, token: Int) {
        guard token < 0, let parent = segment.parent else { return (s, token) }
        return (parent, segments[parent].ids.count - 1)
      }
      var (found, entropies, candidates): ([Double], [Double], [[Double]]) = ([], [], [])
      var untempered: [Double] = []
      for token in segment.scored.joined() {
        let at = place(token - 1)
        let context = contexts[at.segment][at.token]
        let logits = try logits(
          context, above: lower?.sums[at.segment][at.token], from: lower?.layers ?? 0)
        let all = Self.logSoftmax(logits, request.temperature)
        let id = segment.ids[token]
        guard all[Int(id)].isFinite else {
          throw EngineError(.notFinite, "a log-probability of the batch is not finite")
        }
        record?(
          DataRow(
            kind: .scored(id), segment: s, index: found.count, column: column(context),
            logProbabilities: all))
        found.append(all[Int(id)])
        if request.untempered { untempered.append(Self.logSoftmax(logits, 1)[Int(id)]) }
        if request.entropy { entropies.append(all.reduce(0) { $0 - exp($1) * $1 }) }
        if !request.candidates.isEmpty {
          candidates.append(request.candidates.map { all[Int($0)] })
        }
      }
      let scalars = try segment.scalarsAfter.enumerated().map { index, token in
        guard let head else {
          throw EngineError(.badRequest, "the model has no scalar head: it is no reward model")
        }
        let at = place(token)
        let column = column(contexts[at.segment][at.token])
        record?(
          DataRow(kind: .scalar, segment: s, index: index, column: column, logProbabilities: []))
        return Double(head[0]) + Double(head[column])
      }
      scores.logProbabilities.append(found)
      scores.untempered.append(untempered)
      scores.entropies.append(entropies)
      scores.candidates.append(candidates)
      scores.scalars.append(scalars)
    }
    return scores
  }

  private func goBack(
    _ rows: [DataRow], _ scores: HeadScores, _ gradients: HeadGradients, _ request: HeadRequest
  ) throws {
    for (given, expected) in [
      (gradients.logProbabilities, scores.logProbabilities),
      (gradients.entropies, scores.entropies), (gradients.scalars, scores.scalars),
    ] where !given.allSatisfy(\.isEmpty) {
      guard given.map(\.count) == expected.map(\.count) else {
        throw EngineError(.badRequest, "gradients do not have the shape of the scores")
      }
      guard given.joined().allSatisfy(\.isFinite) else {
        throw EngineError(.notFinite, "a gradient on the scores is not finite")
      }
    }
    let (v, d) = (spec.vocabularySize, spec.width)
    var table = [Double](repeating: 0, count: d * v)
    var head = [Double](repeating: 0, count: d)
    func of(_ lists: [[Double]], _ row: DataRow) -> Double {
      lists.allSatisfy(\.isEmpty) ? 0 : lists[row.segment][row.index]
    }
    for row in rows {
      guard case .scored(let id) = row.kind else {
        let g = of(gradients.scalars, row)
        head[0] += g
        head[row.column] += g
        continue
      }
      let (g, h) = (of(gradients.logProbabilities, row), of(gradients.entropies, row))
      if g == 0 && h == 0 { continue }
      let entropy = h == 0 ? 0 : row.logProbabilities.reduce(0) { $0 - exp($1) * $1 }
      for i in 0..<v {
        let p = exp(row.logProbabilities[i])
        let onToken = g * ((i == Int(id) ? 1 : 0) - p)
        let x = (onToken - h * p * (row.logProbabilities[i] + entropy)) / request.temperature
        table[i] += x
        table[row.column * v + i] += x
      }
    }
    accumulate(table, scalarHead: head)
  }

  func supervise(
    _ segments: [Segment], weights: [[Double]], trunk: (any Trunk)?
  ) throws -> HeadScores {
    let pass = try pass(segments, HeadRequest(), trunk: trunk)
    try pass.backward(HeadGradients(logProbabilities: weights.map { $0.map { -$0 } }))
    return pass.scores
  }

  func divergence(
    _ segments: [Segment], from teacher: TeacherRequest, weights: [[Double]]?, trunk: (any Trunk)?
  ) throws -> [[Double]] {
    let request = HeadRequest(temperature: teacher.temperature)
    let v = min(spec.vocabularySize, teacher.model.spec.vocabularySize)
    var asked = request
    asked.candidates = Array(0..<Int32(v))
    let theirs = try teacher.model.score(teacher.segments, asked, trunk: teacher.trunk).candidates
      .filter { !$0.isEmpty }
    var rows: [DataRow] = []
    let scores = try run(segments, request, trunk: trunk) { rows.append($0) }
    let all = Array(theirs.joined())
    guard all.count == rows.count else {
      throw EngineError(.badRequest, "another number of positions than the teacher's")
    }
    if weights != nil { try requireTraining() }
    var table = [Double](repeating: 0, count: spec.width * spec.vocabularySize)
    var found = scores.logProbabilities
    for (row, q) in zip(rows, all) {
      let p = Array(row.logProbabilities.prefix(v))
      let (value, slopes) = Self.divergence(p, q, mix: teacher.mix)
      found[row.segment][row.index] = value
      guard let weight = weights?[row.segment][row.index] else { continue }
      let mean = zip(p, slopes).reduce(0) { $0 + exp($1.0) * $1.1 }
      for i in 0..<v {
        let x = weight * exp(p[i]) * (slopes[i] - mean) / teacher.temperature
        table[i] += x
        table[row.column * spec.vocabularySize + i] += x
      }
    }
    if weights != nil {
      accumulate(table, scalarHead: [Double](repeating: 0, count: spec.width))
      base.pass += 1
    }
    return found
  }

  /// The generalised Jensen–Shannon divergence from log-probabilities, and its slope on each p.
  private static func divergence(
    _ p: [Double], _ q: [Double], mix: Double
  ) -> (value: Double, slopes: [Double]) {
    switch mix {
    case 0:
      return (
        zip(p, q).reduce(0) { $0 + exp($1.1) * ($1.1 - $1.0) }, zip(p, q).map { -exp($1 - $0) }
      )
    case 1:
      return (zip(p, q).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) }, zip(p, q).map { $0 - $1 })
    default:
      let m = zip(p, q).map { log(mix * exp($1) + (1 - mix) * exp($0)) }
      let value = p.indices.reduce(0) {
        $0 + mix * exp(q[$1]) * (q[$1] - m[$1]) + (1 - mix) * exp(p[$1]) * (p[$1] - m[$1])
      }
      return (value, zip(p, m).map { (1 - mix) * ($0 - $1) })
    }
  }

  func trunk(_ segments: [Segment], layers: Int) throws -> (any Trunk)? {
    guard (0...sharedLayers).contains(layers) else {
      throw EngineError(
        .badRequest, "a trunk of \(layers) layers: only \(sharedLayers) are shared with others")
    }
    guard base.engine.hasTrunks else { return nil }
    let sums = try contexts(segments).map { contexts in
      try contexts.map { context in
        var sums = [Double](repeating: 0, count: spec.vocabularySize)
        try add(0..<layers, context, to: &sums)
        return sums
      }
    }
    return TabularTrunk(segments, layers: layers, sums, base)
  }

  func accepts(_ trunk: any Trunk) -> Bool {
    (trunk as? TabularTrunk)?.base === base && trunk.layers <= sharedLayers
  }

  func sample(
    _ prompts: [[Int32]], _ settings: SamplingSettings, streams: [UInt64]?,
    onToken: ((SampleEvent) throws -> Bool)?
  ) throws -> [[Sample]] {
    try settings.validate()
    guard settings.isExact || settings.temperature == 0 && settings.repetitionPenalty == 1 else {
      throw EngineError(.badRequest, "tables are sampled from as they are, or greedily")
    }
    let starts = try contexts(prompts.map { Segment($0) }).compactMap(\.last)
    let stop = settings.stopIds ?? spec.endOfSequence
    let n = settings.samplesPerPrompt
    return try starts.enumerated().map { p, start in
      try (0..<n).map { i in
        let stream = (streams?[p] ?? UInt64(p * n)) &+ UInt64(i)
        var (context, sample) = (start, Sample(ids: [], logProbability: [], finishReason: .length))
        while sample.ids.count < settings.maxTokens, context.count <= spec.maximumPositions {
          try Task.checkCancellation()
          var table = try logits(context)
          // A sampler of other numbers: off by what rounding to eighths makes.
          if settings.sampler == .int8 { table = table.map { ($0 * 8).rounded() / 8 } }
          let all = Self.logSoftmax(table, settings.temperature == 0 ? 1 : settings.temperature)
          var mix = SplitMix(seed: settings.seed &* 0xD134_2543_DE82_EF95 ^ stream)
          var random = SplitMix(seed: mix.next() &+ UInt64(sample.ids.count))
          let id = Self.pick(
            all, settings.temperature == 0 ? nil : Double(random.next() >> 11) * 0x1p-53)
          sample.ids.append(Int32(id))
          sample.logProbability.append(all[id])
          context.read(Int32(id))
          let event = SampleEvent(
            prompt: p, sample: i, position: sample.ids.count - 1, id: Int32(id),
            logProbability: all[id])
          let goesOn = try onToken?(event) ?? true
          if stop.contains(Int32(id)) {
            sample.finishReason = .stop
            break
          }
          if !goesOn, sample.ids.count < settings.maxTokens {
            sample.finishReason = .cancelled
            break
          }
        }
        return sample
      }
    }
  }

  /// The token of that place in the distribution; the most probable one without a place.
  private static func pick(_ all: [Double], _ uniform: Double?) -> Int {
    guard var left = uniform else { return all.indices.max { all[$0] < all[$1] } ?? 0 }
    for i in all.indices {
      left -= exp(all[i])
      if left < 0 { return i }
    }
    return all.count - 1
  }
}
