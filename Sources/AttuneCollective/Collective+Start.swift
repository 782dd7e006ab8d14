// SPDX-License-Identifier: Apache-2.0

import Foundation

#if MPI
  import CMPI
#endif

extension Collective {
  /// How many processes a launcher started of this program; nil where none did.
  package static var launched: Int? {
    let environment = ProcessInfo.processInfo.environment
    // Open MPI's mpirun, MPICH's, Slurm's srun.
    let names = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"]
    return names.lazy.compactMap { environment[$0].flatMap { Int($0) } }.first
  }

  /// Whether an environment variable is one by which a launcher tells a process which rank it is. A program that a rank
  /// starts is none, and must not take itself for one.
  package static func isOfLauncher(_ variable: String) -> Bool {
    ["OMPI_", "PMIX_", "PMI_", "MPI_LOCAL", "SLURM_STEP_"].contains(where: variable.hasPrefix)
  }

  /// How many of the ranks share this machine.
  package static var ranksOfMachine: Int {
    let environment = ProcessInfo.processInfo.environment
    for name in ["OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE"] {
      if let count = environment[name].flatMap({ Int($0) }) { return count }
    }
    return 1
  }

  /// Whether this build can be one of many.
  package static var canBeMany: Bool {
    #if MPI
      true
    #else
      false
    #endif
  }

  static func started() -> Collective {
    #if MPI
      guard let launched, launched > 1 else { return alone }
      var (rank, count) = (Int32(0), Int32(1))
      guard attune_mpi_start(&rank, &count) == 0, count > 1 else { return alone }
      let ranks = Int(count)
      return Collective(
        rank: Int(rank), count: ranks, abort: { attune_mpi_abort($0) },
        exchange: { parts in
          precondition(parts.count == ranks, "a part for each rank")
          let sizes = try passed(
            parts.map { withUnsafeBytes(of: UInt64($0.count)) { Data($0) } },
            sizes: Array(repeating: 8, count: ranks))
          return try passed(
            parts,
            sizes: sizes.map { Int($0.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }) })
        })
    #else
      return alone
    #endif
  }

  /// Ends the collective of a process that is done; all ranks come here.
  package func end() {
    #if MPI
      if !isAlone { attune_mpi_end() }
    #endif
  }

  #if MPI
    /// Hands parts to ranks and takes theirs, whose sizes are known.
    private static func passed(_ parts: [Data], sizes: [Int]) throws -> [Data] {
      let received = sizes.map {
        UnsafeMutableRawPointer.allocate(byteCount: max($0, 1), alignment: 16)
      }
      let sent = parts.map { part in
        let copy = UnsafeMutableRawPointer.allocate(byteCount: max(part.count, 1), alignment: 16)
        part.withUnsafeBytes {
          copy.copyMemory(from: $0.baseAddress ?? .init(copy), byteCount: part.count)
        }
        return copy
      }
      defer { sent.forEach { $0.deallocate() } }
      let failed = attune_mpi_exchange(
        sent.map { UnsafeRawPointer($0) }, parts.map(\.count), received.map { Optional($0) }, sizes,
        Int32(parts.count))
      guard failed == 0 else {
        received.forEach { $0.deallocate() }
        throw Failure(rank: 0, description: "messages between ranks can't be passed")
      }
      return zip(received, sizes).map {
        Data(bytesNoCopy: $0, count: $1, deallocator: .custom { memory, _ in memory.deallocate() })
      }
    }
  #endif
}
