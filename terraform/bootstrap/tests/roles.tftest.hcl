# Policies are data sources, which a mocked provider leaves empty: what the roles may do is tested on the applied ones
# (tests/terraform/test_apply.py).
mock_provider "aws" {
  source          = "../platform/tests/mocks"
  override_during = plan
}

variables {
  github_repository = "acme@11/fraud@22"
}

run "roles" {
  command = plan

  assert {
    condition = { for purpose, role in aws_iam_role.github : purpose => role.name } == {
      deploy            = "GitHubActionsRole"
      production-apply  = "GitHubActions-production-apply"
      production-jobs   = "GitHubActions-production-jobs"
      production-plan   = "GitHubActions-production-plan"
      production-review = "GitHubActions-production-review"
      staging-apply     = "GitHubActions-staging-apply"
      staging-jobs      = "GitHubActions-staging-jobs"
      staging-plan      = "GitHubActions-staging-plan"
      staging-review    = "GitHubActions-staging-review"
    }
    error_message = "one role pushes and deploys; each environment has four"
  }
  assert {
    condition     = local.subjects == tolist(["acme@11/fraud@22", "acme/fraud"])
    error_message = "GitHub's subject with ids, and as it was before"
  }
  assert {
    condition     = alltrue([for role in aws_iam_role.github : !startswith(role.name, "fraud-")])
    error_message = "no role that Terraform assumes lies under a prefix that it manages"
  }
  assert {
    condition     = aws_iam_role.github["production-jobs"].max_session_duration == 21600
    error_message = "a retraining of hours is followed to its end"
  }
  assert {
    condition = alltrue([for repository in aws_ecr_repository.image : alltrue([
      repository.image_tag_mutability == "IMMUTABLE",
      one(repository.image_scanning_configuration).scan_on_push,
      one(repository.encryption_configuration).encryption_type == "AES256",
    ])])
    error_message = "images are scanned, encrypted, and their tags do not move"
  }
  assert {
    condition = { for image, repository in aws_ecr_repository.image : image => repository.name } == {
      gateway = "fraud-detection-api", pipelines = "fraud-detection-pipelines", mlflow = "fraud-detection-mlflow"
    }
    error_message = "the repositories' names"
  }
  assert {
    condition = alltrue([for environment in ["staging", "production"] : alltrue([
      aws_s3_bucket_versioning.state[environment].versioning_configuration[0].status == "Enabled",
      aws_s3_bucket_public_access_block.state[environment].restrict_public_buckets,
      toset(aws_s3_bucket_lifecycle_configuration.state[environment].rule[*].id) == toset(["old-versions", "plans"]),
    ])])
    error_message = "each environment's state is versioned and private, and sheds what is old"
  }
}

run "a_repository_without_ids" {
  command = plan
  variables {
    github_repository = "acme/fraud"
  }
  assert {
    condition     = local.subjects == tolist(["acme/fraud"])
    error_message = "the former subject alone"
  }
}

run "no_wildcard_in_the_trust" {
  command = plan
  variables {
    github_repository = "acme/*"
  }
  expect_failures = [var.github_repository]
}

run "no_prefix_of_a_prefix" {
  command = plan
  variables {
    environments = { staging = "fraud-detection-staging", production = "fraud-detection" }
  }
  expect_failures = [var.environments]
}
