# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 50 Report
# A finished run of 30_generate, a sweep or several runs go in; one page to share comes out (`wanlab report` writes it, with
# the code left out).

# %% tags=["parameters"]
run = "latest"  # runs of 30_generate or 40_sweep, separated by commas; latest: the newest one
title = None  # heading of the report; None: from the run

# %%
from IPython.display import display

from wanlab import config
from wanlab.steps import report

settings = config.from_notebook(config.ReportSettings)
page = report.prepare(settings)
display(page)
story = report.gather(page)
report.overview(story)

# %% [markdown]
# ## Result
# Previews; the full videos are linked.

# %%
report.videos(story)

# %% [markdown]
# ## Frame by frame
# Dashed lines are seams between segments. Each number sees one side only.

# %%
display(report.frames(story), *report.numbers(story))

# %% [markdown]
# ## What went in
# Points scoring under 0.5 are not drawn. What was changed by hand follows, each frame before and after.

# %%
display(report.material(story), report.confidence(story), *report.by_hand(story))

# %% [markdown]
# ## Settings that differ from the defaults

# %%
report.settings_table(story)

# %% [markdown]
# ## To note

# %%
report.notes(story)

# %% [markdown]
# ## Time and provenance

# %%
display(report.times(story), report.provenance(story), report.command(story))
