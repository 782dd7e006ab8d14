// SPDX-License-Identifier: Apache-2.0

import AttuneObjectives
package import AttuneStore

/// Who is asked what next: every question goes to as many people as asked for, is with each of them
/// for a while, and comes back if they do not answer.
///
/// Times are seconds of any clock that does not run backwards.
package struct QuestionQueue: Sendable {
  /// What an annotator did, to be undone.
  package enum Step: Sendable, Equatable {
    /// Gave a judgement, by its number in the store.
    case judged(place: Int, number: Int64)
    /// Passed a question over.
    case skipped(place: Int)

    package var place: Int {
      switch self {
      case .judged(let place, _), .skipped(let place): place
      }
    }
  }

  private struct State {
    /// Annotators whose judgement holds, with its number in the store.
    var judgements: [String: Int64] = [:]
    /// Annotators who have it before them, and until when.
    var leases: [String: Double] = [:]
    /// What is asked first among those with as many judgements: the greater the sooner. Nil where
    /// nobody has said, which counts as 0.
    var priority: Double?
  }

  package let settings: CollectSettings
  package private(set) var questions: [Question] = []
  private var states: [State] = []
  private var places: [String: Int] = [:]
  /// Places of questions, without the gold ones, that nobody has had before them yet.
  private var fresh: [Int] = []
  /// Those that need further judgements of the others.
  private var started: Set<Int> = []
  private var gold: [Int] = []
  /// Those that are not asked any more, because nobody had looked at them when others took their place.
  private var dropped: Set<Int> = []
  /// Whether anything is asked sooner than in its order.
  private var hasPriorities = false
  private var current: [String: Int] = [:]
  private var skipped: [String: Set<Int>] = [:]
  private var history: [String: [Step]] = [:]

  package init(_ settings: CollectSettings) { self.settings = settings }

  /// Questions, without the gold ones, that have all judgements asked for.
  package var finished: Int { count - fresh.count - started.count }
  /// Questions without the gold ones.
  package var count: Int { questions.count - gold.count - dropped.count }
  /// Questions that nobody has answered or has before them.
  package func untouched(at time: Double) -> Int {
    fresh.count + started.count { states[$0].judgements.isEmpty && !isLeased($0, at: time) }
  }

  /// Judgements that hold.
  package var judgements: Int { states.reduce(0) { $0 + $1.judgements.count } }
  /// Who gave them.
  package var annotators: Int { Set(states.flatMap(\.judgements.keys)).count }

  /// How many judgements of somebody hold.
  package func judgements(of annotator: String) -> Int {
    history[annotator, default: []].count {
      if case .judged = $0 { true } else { false }
    }
  }

  /// Adds a question unless it is there; one that was dropped is asked again.
  package mutating func add(_ question: Question) {
    if let place = places[question.key] {
      if dropped.remove(place) != nil { fresh.append(place) }
      return
    }
    let place = questions.count
    places[question.key] = place
    questions.append(question)
    states.append(State())
    if question.isGold { gold.append(place) } else { fresh.append(place) }
  }

  /// Asks no question any more that nobody has answered or has before them.
  package mutating func dropUntouched(at time: Double) {
    let idle = started.filter { states[$0].judgements.isEmpty && !isLeased($0, at: time) }
    dropped.formUnion(fresh)
    dropped.formUnion(idle)
    fresh = []
    started.subtract(idle)
  }

  /// Says how soon a question is asked, among those with as many judgements.
  package mutating func prioritise(_ key: String, _ priority: Double) {
    guard let place = places[key] else { return }
    states[place].priority = priority.isNaN ? 0 : priority
    hasPriorities = true
  }

  /// Questions that have no priority and that nobody has had before them yet.
  func unscored(_ most: Int) -> [Question] {
    var found: [Question] = []
    for place in fresh where states[place].priority == nil {
      if found.count == most { break }
      found.append(questions[place])
    }
    return found
  }

  /// Takes a judgement of an earlier run into account.
  package mutating func restore(_ number: Int64, of answers: [Int64], by annotator: String) {
    guard let place = places[Question.key(answers)] else { return }
    record(number, at: place, by: annotator)
  }

  /// Takes a skip of an earlier run into account.
  package mutating func restore(_ skip: StandingSkip) {
    guard let place = places[skip.question], skipped[skip.annotator]?.contains(place) != true
    else { return }
    self.skip(place, by: skip.annotator)
  }

  /// The place of a question by its key.
  package func place(of key: String) -> Int? { places[key] }

  /// The judgement of somebody that holds.
  package func judgement(at place: Int, by annotator: String) -> Int64? {
    states[place].judgements[annotator]
  }

  /// The question for somebody: the one before them, else the next one; nil if there is none now.
  package mutating func next(for annotator: String, at time: Double) -> Int? {
    if let place = current[annotator] {
      if isFree(place, for: annotator, at: time) { return lease(place, to: annotator, at: time) }
      current[annotator] = nil
    }
    let regular = nextRegular(for: annotator, at: time)
    // Gold questions are mixed in, they are not a task of their own.
    guard let regular else { return nil }
    let asked = history[annotator, default: []].count
    let random = CounterRandom(seed: settings.seed, stableHash("gold"), stableHash(annotator))
    if random.uniform(UInt64(asked)) < settings.goldShare,
      let place = gold.first(where: {
        skipped[annotator]?.contains($0) != true && isFree($0, for: annotator, at: time)
      })
    {
      return lease(place, to: annotator, at: time)
    }
    return lease(regular, to: annotator, at: time)
  }

  /// Whether others have questions before them that may come back to somebody.
  package func mayComeBack(to annotator: String, at time: Double) -> Bool {
    started.contains {
      states[$0].judgements[annotator] == nil
        && skipped[annotator]?.contains($0) != true && isLeased($0, at: time)
    }
  }

  /// Notes a judgement.
  package mutating func record(_ number: Int64, at place: Int, by annotator: String) {
    guard states[place].judgements[annotator] != number else { return }
    states[place].judgements[annotator] = number
    leave(place, annotator)
    skipped[annotator]?.remove(place)
    // A changed mind is one judgement still.
    history[annotator, default: []].removeAll { $0.place == place }
    history[annotator, default: []].append(.judged(place: place, number: number))
    start(place)
    if states[place].judgements.count >= settings.votes { started.remove(place) }
  }

  /// Passes a question over: it does not come back to this annotator.
  package mutating func skip(_ place: Int, by annotator: String) {
    leave(place, annotator)
    guard states[place].judgements[annotator] == nil,
      skipped[annotator, default: []].insert(place).inserted
    else { return }
    history[annotator, default: []].append(.skipped(place: place))
  }

  /// What somebody did last.
  package func lastStep(of annotator: String) -> Step? { history[annotator]?.last }

  /// Notes that a step is undone and puts its question before the annotator again.
  package mutating func undo(_ step: Step, by annotator: String, at time: Double) {
    guard let at = history[annotator]?.lastIndex(of: step) else { return }
    history[annotator]?.remove(at: at)
    switch step {
    case .judged(let place, _):
      states[place].judgements[annotator] = nil
      if !questions[place].isGold { started.insert(place) }
    case .skipped(let place): skipped[annotator]?.remove(place)
    }
    if let other = current[annotator] { leave(other, annotator) }
    _ = lease(step.place, to: annotator, at: time)
  }

  private func nextRegular(for annotator: String, at time: Double) -> Int? {
    var best: (place: Int, votes: Int, priority: Double)?
    let passed = skipped[annotator] ?? []
    for place in started
    where !passed.contains(place) && isFree(place, for: annotator, at: time) {
      let votes = states[place].judgements.count
      let priority = states[place].priority ?? 0
      if let best, (best.votes, best.priority, -best.place) >= (votes, priority, -place) {
        continue
      }
      best = (place, votes, priority)
    }
    if let best, best.votes > 0 { return best.place }
    for place in fresh where !passed.contains(place) {
      let priority = states[place].priority ?? 0
      if let best, best.priority >= priority { continue }
      best = (place, 0, priority)
      // Without priorities they are asked in their order.
      if !hasPriorities { break }
    }
    return best?.place
  }

  /// Notes that a question is not fresh any more.
  private mutating func start(_ place: Int) {
    // Somebody had it on their page still.
    if dropped.remove(place) != nil { started.insert(place) }
    guard !questions[place].isGold, let at = fresh.firstIndex(of: place) else { return }
    fresh.remove(at: at)
    started.insert(place)
  }

  /// Whether somebody who did not pass it over can be asked: they have not answered it, and no more
  /// people have it before them than judgements are wanting.
  private func isFree(_ place: Int, for annotator: String, at time: Double) -> Bool {
    let state = states[place]
    if state.judgements.isEmpty, state.leases.isEmpty { return true }
    guard state.judgements[annotator] == nil else { return false }
    if questions[place].isGold { return true }
    let others = state.leases.count { $0.key != annotator && $0.value > time }
    return state.judgements.count + others < settings.votes
  }

  private func isLeased(_ place: Int, at time: Double) -> Bool {
    states[place].leases.contains { $0.value > time }
  }

  private mutating func lease(_ place: Int, to annotator: String, at time: Double) -> Int {
    start(place)
    states[place].leases[annotator] = time + settings.leaseSeconds
    current[annotator] = place
    return place
  }

  private mutating func leave(_ place: Int, _ annotator: String) {
    states[place].leases[annotator] = nil
    if current[annotator] == place { current[annotator] = nil }
  }
}
