// SPDX-License-Identifier: Apache-2.0

package import Foundation
import Synchronization

/// The processes that make one run together, each of which is a rank.
///
/// All hold the same state and do the same. What takes time is dealt out: pieces of a batch, prompts that
/// are answered. Each rank does a contiguous share and all are told the results, in the order of the
/// pieces, so that losses, metrics and weights are the same everywhere and on any number of ranks. Rank 0
/// writes files (`first`). One process is a collective of one, for which nothing here costs anything.
package struct Collective: Sendable {
  /// Which of the ranks this process is, from 0.
  package let rank: Int
  /// How many ranks there are.
  package let count: Int
  /// Hands part i to rank i, and gives what each rank handed to this one, in the order of ranks.
  private let exchange: @Sendable ([Data]) throws -> [Data]
  /// Ends all ranks with an exit code.
  package let abort: @Sendable (Int32) -> Void

  package init(
    rank: Int, count: Int, abort: @escaping @Sendable (Int32) -> Void = { _ in },
    exchange: @escaping @Sendable ([Data]) throws -> [Data]
  ) {
    self.rank = rank
    self.count = count
    self.abort = abort
    self.exchange = exchange
  }

  /// This process by itself.
  package static let alone = Collective(rank: 0, count: 1) { $0 }

  /// That of this process as it was started: by `mpirun` or Slurm, in a build with the trait `MPI`, one of
  /// many; else alone.
  package static let process = started()

  /// The collective that work is dealt out in: the process's, but in the middle of one rank's share.
  @TaskLocal package static var current = process

  /// Whether there are no others.
  package var isAlone: Bool { count == 1 }

  /// The part of so many pieces that this rank takes.
  package func share(of pieces: Int) -> Range<Int> {
    pieces * rank / count..<pieces * (rank + 1) / count
  }

  /// Maps pieces, each on one rank.
  ///
  /// - Parameters:
  ///   - pieces: The pieces, the same on all ranks.
  ///   - body: The result of a piece. What it changes beside that is known to one rank alone.
  /// - Returns: The results of all pieces, in their order.
  /// - Throws: The error of the first rank that had one: on other ranks as `Failure`.
  package func map<Piece, Result: Codable>(
    _ pieces: [Piece], _ body: (Piece) throws -> Result
  ) throws -> [Result] {
    guard !isAlone else { return try pieces.map(body) }
    return try gather { try pieces[share(of: pieces.count)].map(body) }
  }

  /// The results of all ranks one after another.
  ///
  /// - Parameter own: Those of this rank.
  /// - Throws: As `map`.
  package func gather<Result: Codable>(_ own: () throws -> [Result]) throws -> [Result] {
    guard !isAlone else { return try own() }
    let made = Swift.Result { try Collective.$current.withValue(.alone) { try own() } }
    return try agree(made).flatMap(\.self)
  }

  /// A value that rank 0 makes, and all are told: what is written, what another program answers.
  ///
  /// - Throws: The error of rank 0: on others as `Failure`.
  package func first<Value: Codable>(_ body: () throws -> Value) throws -> Value {
    guard !isAlone else { return try body() }
    let made = Swift.Result {
      rank == 0 ? [try Collective.$current.withValue(.alone) { try body() }] : []
    }
    return try agree(made)[0][0]
  }

  /// Changes files, on rank 0, between what all read before and what they read after.
  ///
  /// - Throws: The error of rank 0: on others as `Failure`.
  package func first(_ body: () throws -> Void) throws {
    guard !isAlone else { return try body() }
    _ = try any(false)
    _ = try first { () throws -> Bool in
      try body()
      return true
    }
  }

  /// Whether something holds on any rank.
  package func any(_ flag: Bool) throws -> Bool {
    isAlone ? flag : try agree(.success(flag)).contains(true)
  }

  /// The error of another rank, which tells of it.
  package struct Failure: Error, CustomStringConvertible {
    package let rank: Int
    package let description: String
  }

  private struct Message<Value: Codable>: Codable {
    var value: Value?
    var error: String?
    /// Whether this rank was asked to stop.
    var stops: Bool
  }

  /// What every rank made, in their order.
  private func agree<Value: Codable>(_ made: Swift.Result<Value, any Error>) throws -> [Value] {
    var message = Message<Value>(stops: Stop.isAsked)
    do { message.value = try made.get() } catch { message.error = "\(error)" }
    let data = try Self.encoder.encode(message)
    let all = try exchange(Array(repeating: data, count: count)).map {
      try Self.decoder.decode(Message<Value>.self, from: $0)
    }
    if all.contains(where: \.stops) { Stop.agree() }
    if let failed = all.firstIndex(where: { $0.error != nil }) {
      if failed == rank { _ = try made.get() }
      throw Failure(rank: failed, description: all[failed].error ?? "")
    }
    return try all.map { message in
      guard let value = message.value else {
        throw Failure(rank: rank, description: "a message of another rank is empty")
      }
      return value
    }
  }

  /// JSON has the shortest decimals that give a number back to the last bit.
  private static var encoder: JSONEncoder {
    let encoder = JSONEncoder()
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    return encoder
  }

  private static var decoder: JSONDecoder {
    let decoder = JSONDecoder()
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    return decoder
  }

  // MARK: Numbers

  /// Hands numbers to each rank.
  ///
  /// - Parameter parts: Part i is for rank i.
  /// - Returns: What each rank handed to this one, in the order of ranks.
  package func exchange(_ parts: [[Float]]) throws -> [[Float]] {
    try exchange(parts.map { $0.withUnsafeBytes { Data($0) } }).map { data in
      [Float](unsafeUninitializedCapacity: data.count / 4) { buffer, count in
        count = data.copyBytes(to: buffer) / 4
      }
    }
  }
}

/// A clean end that was asked for, by a signal. Where there are many ranks all see it at once, when they
/// next tell one another anything.
package enum Stop {
  private static let asked = Atomic(false)
  private static let agreed = Atomic(false)

  /// Asks for it; from a signal handler too.
  package static func ask() { asked.store(true, ordering: .relaxed) }

  static func agree() { agreed.store(true, ordering: .relaxed) }

  /// Whether this process was asked.
  static var isAsked: Bool { asked.load(ordering: .relaxed) }

  /// Whether the run is to end.
  package static var isRequested: Bool {
    Collective.process.isAlone ? isAsked : agreed.load(ordering: .relaxed)
  }
}
