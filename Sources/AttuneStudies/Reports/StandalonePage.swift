// SPDX-License-Identifier: Apache-2.0

import AttuneTraining

/// A page that loads nothing, in the report's style; the terms that it uses are explained at its end.
///
/// - Parameters:
///   - title: Its title.
///   - body: What stands in its `<main>`, as HTML.
func standalonePage(title: String, body: String) -> String {
  """
  <!DOCTYPE html>
  <html lang="en">
  <head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
  <title>\(escapedHTML(title))</title>
  <style>
  \(Report.style)</style>
  </head>
  <body>
  <main>
  \(body)\(Glossary.section(for: body))</main>
  </body>
  </html>

  """
}
