// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// The files and connections that a process may have open at once.
enum Descriptors {
  /// What the server opens before anybody asks: four for each of its threads, the store, the log.
  private static var needed: Int { 4 * max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) + 16 }

  /// Refuses to begin where there are too few: the server's library ends the process then.
  ///
  /// - Throws: ``ServerError`` with the numbers.
  static func demand() throws {
    var taken: [Int32] = []
    defer { for descriptor in taken { close(descriptor) } }
    while taken.count < needed {
      let descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else {
        var limit = rlimit()
        getrlimit(openFiles, &limit)
        throw ServerError(
          .address,
          "the page needs \(needed) open files and connections to begin, and only \(taken.count) "
            + "can be had: ulimit -n is \(limit.rlim_cur); raise it")
      }
      taken.append(descriptor)
    }
  }

  #if canImport(Darwin)
    private static let openFiles = RLIMIT_NOFILE
  #else
    private static let openFiles = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
  #endif
}
