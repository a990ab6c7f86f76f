// Light or dark, before anything is painted: a classic script, because modules run after the first paint.
"use strict";

(function theme() {
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage may be forbidden; the system's choice holds then
    }
  }

  function isDark() {
    return (chosen() || (system.matches ? "dark" : "light")) === "dark";
  }

  function apply() {
    root.dataset.theme = isDark() ? "dark" : "light";
    const button = document.getElementById("theme");
    if (button) {
      button.textContent = isDark() ? "Light" : "Dark";
      button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
    }
  }

  function toggle() {
    try {
      localStorage.setItem("theme", isDark() ? "light" : "dark");
    } catch {
      return;
    }
    apply();
  }

  apply();
  system.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", toggle);
  });
})();
