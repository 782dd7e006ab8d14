// SPDX-License-Identifier: Apache-2.0

import HTTPTypes

/// A file of the page, which is part of the program: no request reads the disk.
struct PageFile: Sendable {
  let bytes: [UInt8]
  let type: String

  /// The file as an answer.
  var reply: Reply {
    Reply(status: .ok, type: type, bytes: bytes, headers: [(.cacheControl, "no-cache")])
  }

  /// Every file of the page where people compare answers, by its path.
  static let all: [String: PageFile] = [
    "/": PageFile(bytes: PackageResources.label_html, type: "text/html; charset=utf-8"),
    "/progress": PageFile(bytes: PackageResources.progress_html, type: "text/html; charset=utf-8"),
    "/labels": PageFile(bytes: PackageResources.labels_html, type: "text/html; charset=utf-8"),
    "/page.css": PageFile(bytes: PackageResources.page_css, type: "text/css; charset=utf-8"),
    "/session.js": PageFile(bytes: PackageResources.session_js, type: script),
    "/label.js": PageFile(bytes: PackageResources.label_js, type: script),
    "/ranking.js": PageFile(bytes: PackageResources.ranking_js, type: script),
    "/labels.js": PageFile(bytes: PackageResources.labels_js, type: script),
    "/verdicts.js": PageFile(bytes: PackageResources.verdicts_js, type: script),
    "/progress.js": PageFile(bytes: PackageResources.progress_js, type: script),
    "/charts.js": PageFile(bytes: PackageResources.charts_js, type: script),
    "/icon.svg": PageFile(bytes: PackageResources.icon_svg, type: "image/svg+xml"),
  ]

  /// Every file of the chat page, by its path.
  static let chat: [String: PageFile] = [
    "/": PageFile(bytes: PackageResources.chat_html, type: "text/html; charset=utf-8"),
    "/chat.css": PageFile(bytes: PackageResources.chat_css, type: "text/css; charset=utf-8"),
    "/chat.js": PageFile(bytes: PackageResources.chat_js, type: script),
  ].merging(
    all.filter { ["/page.css", "/session.js", "/icon.svg"].contains($0.key) }
  ) { own, _ in own }

  private static let script = "text/javascript; charset=utf-8"
}
