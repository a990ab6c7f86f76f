# The repositories are the bootstrap's, and may be another account's. Images are named by digest, which cannot be moved.
locals {
  registry_account = coalesce(var.registry.account_id, local.context.account_id)
  repositories = {
    gateway   = "${var.registry.prefix}-api"
    pipelines = "${var.registry.prefix}-pipelines"
    mlflow    = "${var.registry.prefix}-mlflow"
  }
  images = { for image, repository in local.repositories : image => {
    uri = join("", [
      local.registry_account, ".dkr.ecr.", local.context.region, ".amazonaws.com/", repository, "@",
      var.image_digests[image],
    ])
    repository_arn = join(":", [
      "arn", local.context.partition, "ecr", local.context.region, local.registry_account, "repository/${repository}",
    ])
  } }
}
